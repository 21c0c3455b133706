#include <ffi.h>
#include <stdio.h>
#include <string.h>

static void twice(ffi_cif *cif, void *result, void **arguments, void *user) {
    *(ffi_arg *)result = 2 * *(int *)arguments[0];
}

static int add(int a, double b) { return a + (int)b; }

int main(void) {
    ffi_cif cif;
    ffi_type *types[] = {&ffi_type_sint, &ffi_type_double};
    int a = 40;
    double b = 2;
    void *values[] = {&a, &b}, *code;
    char line[8192];
    ffi_arg result;
    ffi_closure *closure;
    FILE *maps;
    if (ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 2, &ffi_type_sint, types)) return 1;
    ffi_call(&cif, FFI_FN(add), &result, values);
    if ((int)result != 42) return 2;
    closure = ffi_closure_alloc(sizeof *closure, &code);
    if (!closure || ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 1, &ffi_type_sint, types)) return 3;
    if (ffi_prep_closure_loc(closure, &cif, twice, NULL, code)) return 4;
    if (((int (*)(int))code)(21) != 42) return 5;
    maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (strstr(line, " rwx")) {
            printf("writable and executable: %s", line);
            return 6;
        }
    puts("ok");
    return 0;
}
