# cmake -DPTXAS= -DFATBINARY= -DPTX= -DFATBIN= -DBUDGETS= -DIDENT= -DARCH= -P assemble.cmake: PTX to one uncompressed fatbin of machine code and PTX.
# The machine code goes without line numbers: they are two thirds of it, and the PTX has them for the virtual GPU's reports.
# Fails on what ptxas only reports: spills, a local stack, matrix instructions that it had to serialise, more registers than the budget.
cmake_minimum_required(VERSION 3.22)

get_filename_component(folder ${FATBIN} DIRECTORY)
get_filename_component(name ${FATBIN} NAME_WE)
set(cubin ${folder}/${name}.cubin)
execute_process(
  COMMAND ${PTXAS} -arch=sm_${ARCH} -v -warn-spills -Werror -suppress-debug-info ${PTX} -o ${cubin}
  OUTPUT_VARIABLE said
  ERROR_VARIABLE said
  RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "ptxas ended with ${status}:\n${said}")
endif()

set(wrong "")
# C75xx: "warpgroup.wait is injected", "wgmma is serialized" and the like come with exit status 0.
if(said MATCHES "\\(C75[0-9][0-9]\\)[^\n]*|serialized[^\n]*|is injected[^\n]*")
  string(APPEND wrong "  ${CMAKE_MATCH_0}\n")
endif()

# A budget for each kernel: name, registers per thread, # reason
file(STRINGS ${BUDGETS} lines REGEX "^[a-z]")
foreach(line ${lines})
  if(NOT line MATCHES "^([a-z0-9_]+) +([0-9]+)")
    message(FATAL_ERROR "${BUDGETS}: expected 'kernel registers', received '${line}'")
  endif()
  set(budget_${CMAKE_MATCH_1} ${CMAKE_MATCH_2})
endforeach()
string(REGEX MATCHALL
  "Compiling entry function '[^']+'[^\n]*\n[^\n]*\n[^\n]*bytes stack frame[^\n]*\n[^\n]*Used [0-9]+ registers" kernels "${said}")
string(REGEX MATCHALL "Compiling entry function" entries "${said}")
list(LENGTH kernels found)
list(LENGTH entries expected)
if(found EQUAL 0 OR NOT found EQUAL expected)
  message(FATAL_ERROR "ptxas says something else of its ${expected} kernels than this script reads:\n${said}")
endif()
foreach(kernel ${kernels})
  string(REGEX MATCH "function '([^']+)'" match "${kernel}")
  set(name ${CMAKE_MATCH_1})
  string(REGEX MATCH "([0-9]+) bytes stack frame, ([0-9]+) bytes spill stores, ([0-9]+) bytes spill loads" match "${kernel}")
  if(NOT match STREQUAL "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads")
    string(APPEND wrong "  ${name}: ${match}, expected none of them\n")
  endif()
  string(REGEX MATCH "Used ([0-9]+) registers" match "${kernel}")
  if(NOT DEFINED budget_${name})
    string(APPEND wrong "  ${name}: ${CMAKE_MATCH_1} registers, no budget in ${BUDGETS}\n")
  elseif(CMAKE_MATCH_1 GREATER budget_${name})
    string(APPEND wrong "  ${name}: ${CMAKE_MATCH_1} registers, budget ${budget_${name}} in ${BUDGETS}\n")
  endif()
endforeach()
if(wrong)
  message(FATAL_ERROR "kernels outside their limits:\n${wrong}")
endif()

execute_process(
  COMMAND ${FATBINARY} --create=${FATBIN} -64 --ident=${IDENT} -compress=false --image3=kind=ptx,sm=${ARCH},file=${PTX} --image3=kind=elf,sm=${ARCH},file=${cubin}
  OUTPUT_VARIABLE said
  ERROR_VARIABLE said
  RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "fatbinary ended with ${status}:\n${said}")
endif()
