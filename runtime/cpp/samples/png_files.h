/* PNG, where the sample was built with libpng. */
#pragma once

#include "pictures.h"

bool png_supported();

/* 8 bits a value; of 16 it throws InputError, because libpng's simple interface would convert. */
Picture read_png(const std::string& path, const std::vector<uint8_t>& bytes);
void write_png(const std::string& path, const Picture& picture);
