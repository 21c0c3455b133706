#include <stdio.h>
#include <tcl.h>

/* Evaluates a script with the path of this program as that of Tcl. */
int main(int count, char **arguments) {
    Tcl_Interp *interp;
    int failed;
    Tcl_FindExecutable(arguments[0]);
    interp = Tcl_CreateInterp();
    failed = Tcl_Init(interp) != TCL_OK || Tcl_Eval(interp, arguments[1]) != TCL_OK;
    puts(Tcl_GetStringResult(interp));
    return failed;
}
