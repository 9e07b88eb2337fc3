# CUDA: kernels become fatbins inside the addon; libcuda.so.1 is opened at run time. Sets ATTN_WITH_CUDA.
#   ATTN_CUDA=AUTO   where nvcc and an NVIDIA driver are both found: others wait for no kernels
#   ATTN_CUDA=ON     wherever nvcc is; an error without it
#   ATTN_CUDA=OFF    never
set(ATTN_CUDA "AUTO" CACHE STRING "CUDA backend: AUTO, ON or OFF")
set(ATTN_WITH_CUDA OFF)
if(NOT ATTN_CUDA STREQUAL "OFF")
  # NO_CACHE: looked for again at each configure. Hints come before PATH: an nvcc on PATH may be a wrapper with no toolkit beside it.
  if(NOT "$ENV{CUDACXX}" STREQUAL "")
    set(ATTN_NVCC "$ENV{CUDACXX}")
  else()
    find_program(ATTN_NVCC nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME /usr/local/cuda PATH_SUFFIXES bin NO_CACHE)
  endif()
  if(ATTN_NVCC)
    file(REAL_PATH ${ATTN_NVCC} _nvcc)
    get_filename_component(ATTN_TOOLKIT ${_nvcc}/../.. ABSOLUTE)
    if(NOT EXISTS ${ATTN_TOOLKIT}/include/cuda.h)
      set(ATTN_NVCC "ATTN_NVCC-NOTFOUND")
    endif()
  endif()
  find_library(ATTN_DRIVER NAMES libcuda.so.1 PATH_SUFFIXES x86_64-linux-gnu NO_CACHE)
endif()
if(ATTN_CUDA STREQUAL "OFF")
  message(STATUS "attn: CUDA is left out, as asked")
elseif(NOT ATTN_NVCC AND ATTN_CUDA STREQUAL "ON")
  message(FATAL_ERROR "attn: ATTN_CUDA=ON, but no nvcc with its toolkit was found; set CUDACXX to the toolkit's own nvcc")
elseif(NOT ATTN_NVCC)
  message(STATUS "attn: CUDA is left out: no nvcc was found (ATTN_CUDA=ON insists)")
elseif(ATTN_CUDA STREQUAL "AUTO" AND NOT ATTN_DRIVER)
  message(STATUS "attn: CUDA is left out: no NVIDIA driver was found (ATTN_CUDA=ON compiles the kernels all the same)")
else()
  set(ATTN_WITH_CUDA ON)
  message(STATUS "attn: CUDA kernels are compiled by ${ATTN_NVCC}")
endif()

set(ATTN_IMAGE_ROWS "")
set(ATTN_IMAGE_NAMES "")
set(ATTN_CUDA_SOURCES "")

# nvcc compiles to PTX, assemble.cmake makes the fatbin of it: uncompressed, since nvcc's compressed PTX is for drivers alone to read.
# Family sm80 is for 8.0 and everything newer; sm90a has the instructions that 9.0 alone has, so its PTX is for 9.0 alone too.
function(attn_kernels op family)
  string(REPLACE "sm" "" arch ${family})
  set(source ${CMAKE_SOURCE_DIR}/native/cuda/kernels/${op}/${family}.cu)
  set(fatbin ${CMAKE_BINARY_DIR}/${op}_${family}.fatbin)
  set(ptx ${CMAKE_BINARY_DIR}/${op}_${family}.ptx)
  set(assemble ${CMAKE_SOURCE_DIR}/native/cuda/assemble.cmake)
  set(budgets ${CMAKE_SOURCE_DIR}/native/cuda/registers.txt)
  add_custom_command(
    OUTPUT ${ptx}
    COMMAND ${ATTN_NVCC} -std=c++20 -O3 -lineinfo -ptx -arch=compute_${arch} -Werror all-warnings -I ${CMAKE_SOURCE_DIR}/native -MD -MF ${ptx}.d -MT ${ptx} -o ${ptx} ${source}
    DEPENDS ${source}
    DEPFILE ${ptx}.d
    COMMENT "Building kernels ${op} ${family}"
    VERBATIM)
  add_custom_command(
    OUTPUT ${fatbin}
    COMMAND ${CMAKE_COMMAND} -DPTXAS=${ATTN_TOOLKIT}/bin/ptxas -DFATBINARY=${ATTN_TOOLKIT}/bin/fatbinary -DPTX=${ptx} -DFATBIN=${fatbin} -DBUDGETS=${budgets}
            -DIDENT=${op}_${family} -DARCH=${arch} -P ${assemble}
    DEPENDS ${ptx} ${assemble} ${budgets}
    COMMENT "Building machine code ${op} ${family}"
    VERBATIM)
  set(ATTN_IMAGE ${op}_${family})
  set(ATTN_FATBIN ${fatbin})
  configure_file(${CMAKE_SOURCE_DIR}/native/cuda/image.S.in ${CMAKE_BINARY_DIR}/${op}_${family}.S @ONLY)
  set_source_files_properties(${CMAKE_BINARY_DIR}/${op}_${family}.S PROPERTIES OBJECT_DEPENDS ${fatbin})
  set(ATTN_CUDA_SOURCES ${ATTN_CUDA_SOURCES} ${CMAKE_BINARY_DIR}/${op}_${family}.S PARENT_SCOPE)
  set(ATTN_IMAGE_NAMES "${ATTN_IMAGE_NAMES}extern \"C\" const unsigned char attn_image_${op}_${family}[];\n" PARENT_SCOPE)
  set(ATTN_IMAGE_ROWS "${ATTN_IMAGE_ROWS}    {\"${op}\", \"${family}\", attn_image_${op}_${family}},\n" PARENT_SCOPE)
endfunction()

if(ATTN_WITH_CUDA)
  enable_language(ASM)
  include(native/cuda/families.cmake)
  configure_file(native/cuda/image_list.cpp.in ${CMAKE_BINARY_DIR}/image_list.cpp @ONLY)
  file(GLOB ATTN_CUDA_HOST CONFIGURE_DEPENDS native/cuda/*.cpp native/cuda/kernels/*.cpp native/cuda/kernels/*/*.cpp)
  list(APPEND ATTN_CUDA_SOURCES ${ATTN_CUDA_HOST} ${CMAKE_BINARY_DIR}/image_list.cpp)
endif()
