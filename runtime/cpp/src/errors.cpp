#include "errors.h"

#include <cstring>

namespace hz_cpu {
namespace {

thread_local char last_error[1024] = "";

}  // namespace

void remember_error(const char* message) noexcept {
    std::strncpy(last_error, message, sizeof last_error - 1);
}

}  // namespace hz_cpu

const char* hz_last_error(void) { return hz_cpu::last_error; }
