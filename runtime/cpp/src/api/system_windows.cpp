#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <algorithm>

#include "api/system.h"

namespace hz_api {
namespace {

std::wstring wide(const std::string& text) {
    const int size = static_cast<int>(text.size());
    std::wstring result(MultiByteToWideChar(CP_UTF8, 0, text.data(), size, nullptr, 0), L'\0');
    MultiByteToWideChar(CP_UTF8, 0, text.data(), size, result.data(),
                        static_cast<int>(result.size()));
    return result;
}

std::string narrow(const std::wstring& text) {
    const int size = static_cast<int>(text.size());
    const int bytes =
        WideCharToMultiByte(CP_UTF8, 0, text.data(), size, nullptr, 0, nullptr, nullptr);
    std::string result(bytes, '\0');
    WideCharToMultiByte(CP_UTF8, 0, text.data(), size, result.data(), bytes, nullptr, nullptr);
    return result;
}

std::string last_error() {
    wchar_t text[512];
    DWORD length =
        FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, nullptr,
                       GetLastError(), 0, text, sizeof text / sizeof *text, nullptr);
    while (length && (text[length - 1] == L'\n' || text[length - 1] == L'\r')) --length;
    return narrow(std::wstring(text, length));
}

}  // namespace

std::vector<char> read_regular(const std::string& path, int64_t most, std::string& reason) {
    std::vector<char> bytes;
    reason.clear();
    const HANDLE file =
        CreateFileW(wide(path).c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr,
                    OPEN_EXISTING, FILE_FLAG_SEQUENTIAL_SCAN, nullptr);
    if (file == INVALID_HANDLE_VALUE) {
        reason = last_error();
        return bytes;
    }
    struct Closer {
        HANDLE file;
        ~Closer() { CloseHandle(file); }
    } const closer{file};
    LARGE_INTEGER size;
    if (GetFileType(file) != FILE_TYPE_DISK || !GetFileSizeEx(file, &size)) {
        reason = "it must be a regular file";
        return bytes;
    }
    if (size.QuadPart > most) {
        reason = "it must have at most " + std::to_string(most) + " bytes, and has " +
                 std::to_string(size.QuadPart);
        return bytes;
    }
    bytes.resize(static_cast<size_t>(size.QuadPart));
    size_t done = 0;
    while (done < bytes.size()) {
        const DWORD wanted = static_cast<DWORD>(std::min<size_t>(bytes.size() - done, 1u << 30));
        DWORD count = 0;
        if (!ReadFile(file, bytes.data() + done, wanted, &count, nullptr))
            reason = last_error();
        else if (count == 0)
            reason = "it became shorter while it was read";
        if (!reason.empty()) break;
        done += count;
    }
    if (!reason.empty()) bytes.clear();
    return bytes;
}

void* open_library(const char* name, std::string& reason) {
    /* Beside the program, in System32, or where AddDllDirectory says: never the current folder. */
    void* const library =
        LoadLibraryExW(wide(name).c_str(), nullptr, LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
    if (!library) reason = std::string(name) + ": " + last_error();
    return library;
}

void* find_function(void* library, const char* name) {
    return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}

void close_library(void* library) { FreeLibrary(static_cast<HMODULE>(library)); }

std::string folder_of(const void* address) {
    HMODULE library = nullptr;
    wchar_t path[32768];
    if (!GetModuleHandleExW(
            GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
            reinterpret_cast<LPCWSTR>(address), &library))
        return ".";
    const DWORD length = GetModuleFileNameW(library, path, sizeof path / sizeof *path);
    const std::string text = narrow(std::wstring(path, length));
    const size_t slash = text.find_last_of("\\/");
    return slash == std::string::npos ? "." : text.substr(0, slash);
}

int available_processors() {
    DWORD_PTR mine = 0, machine = 0;
    if (GetProcessAffinityMask(GetCurrentProcess(), &mine, &machine) && mine)
        return __builtin_popcountll(mine);
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return std::max(1, static_cast<int>(info.dwNumberOfProcessors));
}

}  // namespace hz_api
