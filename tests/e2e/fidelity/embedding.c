/* A program that embeds CPython in the way of its first argument, and runs its second argument. */

#include <Python.h>

#include <stdio.h>
#include <string.h>

static void
check(PyStatus status)
{
    if (PyStatus_Exception(status)) {
        Py_ExitStatusException(status);
    }
}

static void
with_config(const char *way)
{
    PyConfig config;
    if (strcmp(way, "isolated") == 0) {
        PyConfig_InitIsolatedConfig(&config);
    }
    else {
        PyConfig_InitPythonConfig(&config);
    }
    if (strcmp(way, "program name") == 0) {
        check(PyConfig_SetString(&config, &config.program_name, L"/opt/application/bin/program"));
    }
    if (strcmp(way, "paths") == 0) {
        wchar_t *folder = Py_DecodeLocale(getenv("LIBRARY"), NULL);
        wchar_t dynamic[4096];
        swprintf(dynamic, 4096, L"%ls/lib-dynload", folder);
        config.module_search_paths_set = 1;
        check(PyWideStringList_Append(&config.module_search_paths, folder));
        check(PyWideStringList_Append(&config.module_search_paths, dynamic));
    }
    if (strcmp(way, "no site") == 0) {
        config.site_import = 0;
    }
    check(Py_InitializeFromConfig(&config));
    PyConfig_Clear(&config);
}

static int
in_subinterpreter(const char *code)
{
    PyThreadState *state = PyThreadState_Get();
    PyThreadState *other = Py_NewInterpreter();
    int failed = PyRun_SimpleString(code);
    Py_EndInterpreter(other);
    PyThreadState_Swap(state);
    return failed;
}

int
main(int argc, char **argv)
{
    const char *way = argv[1], *code = argv[2];
    int failed = 0;
    for (int round = 0; round < (strcmp(way, "repeated") == 0 ? 3 : 1); round++) {
        if (strcmp(way, "plain") == 0 || strcmp(way, "repeated") == 0
            || strcmp(way, "subinterpreter") == 0)
        {
            Py_Initialize();
        }
        else {
            with_config(way);
        }
        failed |= strcmp(way, "subinterpreter") == 0 ? in_subinterpreter(code)
                                                     : PyRun_SimpleString(code);
        failed |= Py_FinalizeEx();
    }
    return failed ? 1 : 0;
}
