#include "api/errors.h"

#include <cstring>

namespace hz_api {
namespace {

thread_local char last_error[1024] = "";

}  // namespace

void remember_error(const char* message) noexcept {
    std::strncpy(last_error, message, sizeof last_error - 1);
}

}  // namespace hz_api

const char* hz_last_error(void) { return hz_api::last_error; }
