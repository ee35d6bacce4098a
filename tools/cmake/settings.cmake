# Compiler flags shared by the program and the tests, and the way files become C strings.

add_library(cam_flags INTERFACE)
target_compile_options(cam_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
  -Wvla -Wundef -Wno-psabi -fno-common
  # Same bits with every vector width: no contraction or reassociation the source does not spell.
  -ffp-contract=off -fno-math-errno
  $<$<BOOL:${CAM_WERROR}>:-Werror>)
target_compile_definitions(cam_flags INTERFACE _GNU_SOURCE CAM_VERSION="${PROJECT_VERSION}")
if(CAM_SANITIZE)
  target_compile_options(cam_flags INTERFACE -fsanitize=${CAM_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer -g)
  target_link_options(cam_flags INTERFACE -fsanitize=${CAM_SANITIZE})
endif()

if(CAM_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
    message(FATAL_ERROR "CAM_FUZZ needs clang: cmake --preset fuzz")
  endif()
  target_compile_options(cam_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(EXPAT REQUIRED IMPORTED_TARGET expat)
pkg_check_modules(XML2 REQUIRED IMPORTED_TARGET libxml-2.0)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)

# cam_embed(OUT_VAR file...): each file becomes a C array in a generated source; see embed.cmake.
function(cam_embed target header)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${header}.c)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} "-DFILES=${ARGN}" -DNAME=${header}
            -P ${PROJECT_SOURCE_DIR}/tools/cmake/embed.cmake
    DEPENDS ${ARGN} ${PROJECT_SOURCE_DIR}/tools/cmake/embed.cmake
    VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
