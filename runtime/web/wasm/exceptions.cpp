/* What Zig's C++ library for WebAssembly leaves out for exceptions; build_studio.py compiles the
   rest of it from the sources that Zig brings. */
#include <cstdlib>
#include <new>

/* The tag that every C++ exception is thrown with, and caught by. */
__asm__(
    ".globl __cpp_exception\n"
    ".tagtype __cpp_exception i32\n"
    "__cpp_exception:\n");

/* The library's own ends the program where memory does. */
void* operator new(std::size_t size) {
    if (void* const memory = std::malloc(size ? size : 1)) return memory;
    throw std::bad_alloc();
}
