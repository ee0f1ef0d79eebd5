"""What `conan create` tries its package with: a program in C."""

from pathlib import Path

from conan import ConanFile
from conan.tools.build import can_run
from conan.tools.cmake import CMake, cmake_layout


class HarmonizerTest(ConanFile):
    """Build the program against the package, and run it."""

    settings = "os", "compiler", "build_type", "arch"
    generators = "CMakeDeps", "CMakeToolchain"

    def requirements(self) -> None:
        """The package that was made."""
        self.requires(self.tested_reference_str)

    def layout(self) -> None:
        """CMake's."""
        cmake_layout(self)

    def build(self) -> None:
        """Compile."""
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def test(self) -> None:
        """Run."""
        if can_run(self):
            program = Path(self.build_folder, self.cpp.build.bindirs[0], "version")
            self.run(f'"{program}"', env="conanrun")
