/* The C library next door, compiled by cgo as part of this package. */
#include "../c/sri_guard.c"
