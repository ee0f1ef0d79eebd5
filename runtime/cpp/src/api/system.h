/* What each operating system does in its own way: files, and libraries that are opened late. */
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hz_api {

/* The bytes of a regular file, its size known before a byte is read; or none and the reason. A
   device or a pipe may never end and never answer. Paths are in UTF-8. */
std::vector<char> read_regular(const std::string& path, int64_t most, std::string& reason);

/* A shared library, which is searched for as the system does; null and the reason where it cannot
   be opened. */
void* open_library(const char* name, std::string& reason);

/* A function of it; null where it has none of that name. */
void* find_function(void* library, const char* name);

void close_library(void* library);

/* The folder of the library or program that an address lies in; "." where that is not known. */
std::string folder_of(const void* address);

/* Processors that this process may run on, at least 1. */
int available_processors();

}  // namespace hz_api
