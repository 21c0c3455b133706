#include <stdio.h>
#include <readline/readline.h>
#include <readline/history.h>

int main(void) {
    int rows, columns;
    rl_reset_terminal("xterm-256color");
    rl_get_screen_size(&rows, &columns);
    add_history("one");
    /* The library gets facts of the terminal from the bundled terminfo library. */
    puts(rl_get_termcap("ce") && history_length == 1 ? rl_library_version : "no terminal");
    return 0;
}
