#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "api/system.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace hz_api {

std::vector<char> read_regular(const std::string& path, int64_t most, std::string& reason) {
    std::vector<char> bytes;
    reason.clear();
    struct stat before, status;
    if (stat(path.c_str(), &before) != 0) {
        reason = std::strerror(errno);
        return bytes;
    }
    if (!S_ISREG(before.st_mode)) {
        reason = "it must be a regular file";
        return bytes;
    }
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 || fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
        reason = file < 0 ? std::strerror(errno) : "it must be a regular file";
        if (file >= 0) close(file);
        return bytes;
    }
    if (status.st_size > most) {
        reason = "it must have at most " + std::to_string(most) + " bytes, and has " +
                 std::to_string(status.st_size);
        close(file);
        return bytes;
    }
    try {
        bytes.resize(static_cast<size_t>(status.st_size));
    } catch (...) {
        close(file);
        throw;
    }
    size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t count = read(file, bytes.data() + done, bytes.size() - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) reason = std::strerror(errno);
        if (count == 0) reason = "it became shorter while it was read";
        if (count <= 0) break;
        done += static_cast<size_t>(count);
    }
    close(file);
    if (!reason.empty()) bytes.clear();
    return bytes;
}

void* open_library(const char* name, std::string& reason) {
    void* const library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library) return library;
    const char* const text = dlerror();
    reason = text ? text : std::string(name) + " cannot be loaded";
    return nullptr;
}

void* find_function(void* library, const char* name) { return dlsym(library, name); }

void close_library(void* library) { dlclose(library); }

std::string folder_of(const void* address) {
    Dl_info info;
    if (!dladdr(address, &info) || !info.dli_fname) return ".";
    const std::string path = info.dli_fname;
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

int available_processors() {
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
#endif
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace hz_api
