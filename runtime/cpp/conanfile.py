"""Conan's recipe: `conan create runtime/cpp`, with `-o "harmonizer/*:shared=True"` for a .so."""

from pathlib import Path

from conan import ConanFile
from conan.tools.cmake import CMake, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load

SOURCES = ("runtime/cpp/*", "runtime/kernels/*", "runtime/harmonizer/__init__.py", "LICENSE")
"""What CMake reads, below the root of the repository."""


class HarmonizerRecipe(ConanFile):
    """The C and C++ library; nothing but a compiler and CMake is needed."""

    name = "harmonizer"
    license = "Apache-2.0"
    description = "Image harmonization with photo filters: C and C++ library"
    package_type = "library"
    settings = "os", "compiler", "build_type", "arch"
    options = {"shared": [True, False], "cuda": [True, False]}  # noqa: RUF012 - Conan's way
    default_options = {"shared": False, "cuda": True}  # noqa: RUF012

    def set_version(self) -> None:
        """The Python package's, where it is written once."""
        text = load(self, Path(self.recipe_folder, "../harmonizer/__init__.py"))
        self.version = text.split('__version__ = "')[1].split('"')[0]

    def export_sources(self) -> None:
        """As they lie in the repository."""
        for pattern in SOURCES:
            copy(self, pattern, Path(self.recipe_folder, "../.."), self.export_sources_folder)

    def layout(self) -> None:
        """The sources' root has CMake's file further down."""
        cmake_layout(self, src_folder=".")

    def generate(self) -> None:
        """Tell CMake the options."""
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["HARMONIZER_CUDA"] = bool(self.options.cuda)
        toolchain.cache_variables["CMAKE_INSTALL_LIBDIR"] = "lib"
        toolchain.generate()

    def build(self) -> None:
        """Compile."""
        cmake = CMake(self)
        cmake.configure(build_script_folder="runtime/cpp")
        cmake.build()

    def package(self) -> None:
        """Install, with the licence where Conan looks for it."""
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, Path(self.package_folder, "licenses"))

    def package_info(self) -> None:
        """The library's own CMake package says the rest."""
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = ["lib/cmake/harmonizer"]
        self.cpp_info.libs = ["harmonizer"]
