# The parts for NVIDIA GPUs. None links an NVIDIA library: driver and TensorRT are opened at run time.

if(HARMONIZER_CUDA)
  target_sources(harmonizer PRIVATE
    src/cuda/device_context.cpp src/cuda/driver.cpp src/cuda/host_pictures.cpp
    src/cuda/renderer.cpp src/cuda/staging.cpp src/cuda/thumbnails.cpp)
  target_link_libraries(harmonizer PRIVATE ${CMAKE_DL_LIBS})
else()
  target_sources(harmonizer PRIVATE src/cuda/no_cuda.cpp)
endif()

if(HARMONIZER_NVTX)
  if(NOT HARMONIZER_CUDA)
    message(FATAL_ERROR "HARMONIZER_NVTX needs the CUDA renderer; set HARMONIZER_CUDA=ON too.")
  endif()
  find_package(CUDAToolkit QUIET)
  find_path(NVTX_INCLUDE_DIR nvtx3/nvToolsExt.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  if(NOT NVTX_INCLUDE_DIR)
    message(FATAL_ERROR "HARMONIZER_NVTX needs nvtx3/nvToolsExt.h, which CUDA toolkits bring; none "
      "is found. Install one, or set NVTX_INCLUDE_DIR to the folder that holds nvtx3/.")
  endif()
  target_include_directories(harmonizer SYSTEM PRIVATE "${NVTX_INCLUDE_DIR}")
  target_compile_definitions(harmonizer PRIVATE HARMONIZER_NVTX)
endif()

if(HARMONIZER_TENSORRT)
  if(NOT HARMONIZER_CUDA)
    message(FATAL_ERROR "HARMONIZER_TENSORRT needs the CUDA renderer; set HARMONIZER_CUDA=ON too.")
  endif()
  find_path(TENSORRT_INCLUDE_DIR NvInferRuntime.h
    HINTS "${TENSORRT_ROOT}" PATH_SUFFIXES include include/${CMAKE_LIBRARY_ARCHITECTURE})
  if(NOT TENSORRT_INCLUDE_DIR)
    message(FATAL_ERROR "HARMONIZER_TENSORRT needs TensorRT's headers; NvInferRuntime.h is not in "
      "\"${TENSORRT_ROOT}\". Set TENSORRT_ROOT to the folder that holds include/.")
  endif()
  find_package(CUDAToolkit QUIET) # for cuda_runtime_api.h, which TensorRT's headers include
  if(NOT CUDAToolkit_FOUND)
    message(FATAL_ERROR "HARMONIZER_TENSORRT needs the headers of the CUDA toolkit; none is found. "
      "Install it, or set CUDAToolkit_ROOT.")
  endif()
  target_sources(harmonizer PRIVATE src/cuda/tensorrt.cpp)
  target_include_directories(harmonizer SYSTEM PRIVATE
    "${TENSORRT_INCLUDE_DIR}" ${CUDAToolkit_INCLUDE_DIRS})
else()
  target_sources(harmonizer PRIVATE src/cuda/no_tensorrt.cpp)
endif()

# The kernels, for the folder of the library.
set(kernels_image "")
if(HARMONIZER_KERNELS AND NOT HARMONIZER_CUDA)
  message(FATAL_ERROR "HARMONIZER_KERNELS is for the CUDA renderer; it is "
    "\"${HARMONIZER_KERNELS}\" with HARMONIZER_CUDA=OFF. Leave it empty, or set HARMONIZER_CUDA=ON.")
endif()
if(HARMONIZER_KERNELS STREQUAL "nvcc")
  find_program(HARMONIZER_NVCC nvcc PATHS /usr/local/cuda/bin)
  if(NOT HARMONIZER_NVCC)
    message(FATAL_ERROR "HARMONIZER_KERNELS=nvcc needs nvcc of CUDA 12.9 or newer; none is found. "
      "Install the CUDA toolkit, or give the path of hz_kernels.fatbin.")
  endif()
  set(kernels_image "${CMAKE_CURRENT_BINARY_DIR}/hz_kernels.fatbin")
  set(targets "") # as build_kernels.py
  foreach(architecture 75 80 86 89 90 100 120)
    list(APPEND targets "-gencode=arch=compute_${architecture},code=sm_${architecture}")
  endforeach()
  file(GLOB kernel_sources CONFIGURE_DEPENDS
    "${kernels_dir}/*.cu" "${kernels_dir}/*.cuh" "${kernels_dir}/*.h")
  add_custom_command(OUTPUT "${kernels_image}"
    COMMAND "${HARMONIZER_NVCC}" -fatbin -std=c++17 -O3 --threads 2 ${targets}
      "-gencode=arch=compute_75,code=compute_75" "-gencode=arch=compute_120,code=compute_120"
      "-I${CMAKE_CURRENT_SOURCE_DIR}/include" "-I${kernels_dir}"
      -o "${kernels_image}" "${kernels_dir}/hz_kernels.cu"
    DEPENDS ${kernel_sources} VERBATIM)
  add_custom_target(harmonizer_kernels ALL DEPENDS "${kernels_image}")
elseif(HARMONIZER_KERNELS)
  get_filename_component(kernels_source "${HARMONIZER_KERNELS}" ABSOLUTE
    BASE_DIR "${CMAKE_SOURCE_DIR}") # of a variable that a CMakeLists.txt sets
  if(NOT EXISTS "${kernels_source}" OR IS_DIRECTORY "${kernels_source}")
    message(FATAL_ERROR "HARMONIZER_KERNELS must be `nvcc` or a file of compiled kernels; "
      "${kernels_source} is missing or a folder. Make it with `make cuda`.")
  endif()
  file(READ "${kernels_source}" magic LIMIT 4 HEX)
  if(NOT magic STREQUAL "50ed55ba")
    message(FATAL_ERROR "HARMONIZER_KERNELS must be `nvcc` or a fat binary of the kernels; "
      "${kernels_source} is something else. Make it with `make cuda`.")
  endif()
  set(kernels_image "${CMAKE_CURRENT_BINARY_DIR}/hz_kernels.fatbin")
  configure_file("${kernels_source}" "${kernels_image}" COPYONLY)
endif()
