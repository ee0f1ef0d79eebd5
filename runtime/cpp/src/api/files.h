/* Reading files: regular ones alone, their size known before a byte is read. */
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace hz_api {

/* The bytes of a file, or none and the reason. A device or a pipe may never end and never answer. */
inline std::vector<char> read_regular(const std::string& path, int64_t most, std::string& reason) {
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

}  // namespace hz_api
