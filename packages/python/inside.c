/* The file in lib-dynload of a module whose code is inside bin/python3 and libpython.

   It is linked for each module; ld's --defsym names the function PyInit_<module>. bin/python3
   and libpython find the module's code without this file if they run beside it. Others open it:

   - a copy of bin/python3 or libpython, e.g. made by a freezer: the copy contains the function;
   - a program with another libpython of the same version that uses this installation as its home,
     because this python3 is first on PATH: it gets the module of its own installation. */

#define _GNU_SOURCE
#include "Python.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

typedef PyObject *(*init_function)(void);

#ifdef Py_GIL_DISABLED
#  define ABI_THREAD "t"
#else
#  define ABI_THREAD ""
#endif

/* From the folder of a libpython, or of a program that contains it, to the standard library */
static const char *const folders[] = {"", "../", "../lib/", "../lib64/"};

/* Opens the object that contains the running interpreter, and copies its path. */
static void *
open_interpreter(char *path)
{
    Dl_info info;
    struct link_map *map;
    if (!dladdr1((void *)PyErr_Format, &info, (void **)&map, RTLD_DL_LINKMAP)) {
        return NULL;
    }
    ssize_t size = snprintf(path, MAXPATHLEN, "%s", map->l_name);
    if (size == 0) {
        /* The dynamic linker does not know the path of the program. */
        size = readlink("/proc/self/exe", path, MAXPATHLEN);
    }
    path[0 < size && size < MAXPATHLEN ? size : 0] = '\0';
    return dlopen(*map->l_name ? map->l_name : NULL, RTLD_NOW | RTLD_NOLOAD);
}

PyMODINIT_FUNC
inside_init(void)
{
    Dl_info info;
    char interpreter[MAXPATHLEN], path[2 * MAXPATHLEN], function[256];
    void *library = open_interpreter(interpreter);
    if (library == NULL || !dladdr((void *)inside_init, &info)) {
        PyErr_SetString(PyExc_ImportError, "the dynamic linker does not know the interpreter");
        return NULL;
    }
    const char *file = strrchr(info.dli_fname, '/');
    file = file == NULL ? info.dli_fname : file + 1;
    int name = (int)strcspn(file, "."), folder = (int)(strrchr(interpreter, '/') + 1 - interpreter);
    snprintf(function, sizeof function, "PyInit_%.*s", name, file);
    init_function init = (init_function)dlsym(library, function);
    for (size_t i = 0; init == NULL && i < Py_ARRAY_LENGTH(folders); i++) {
        snprintf(path, sizeof path, "%.*s%spython%d.%d" ABI_THREAD "/lib-dynload/%s", folder,
                 interpreter, folders[i], PY_MAJOR_VERSION, PY_MINOR_VERSION, file);
        library = dlopen(path, RTLD_NOW);
        init = library == NULL ? NULL : (init_function)dlsym(library, function);
    }
    if (init == NULL) {
        return PyErr_Format(PyExc_ImportError, "%s has no module %s; set PYTHONHOME to its home",
                            interpreter, function + strlen("PyInit_"));
    }
    return init();
}
