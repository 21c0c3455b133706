#include <stdio.h>
#include <readline/readline.h>
#include <readline/history.h>

int main(void) {
    int rows, columns;
    rl_reset_terminal("xterm-256color");
    rl_get_screen_size(&rows, &columns);
    add_history("one");
    /* Facts of the terminal come from the terminfo library inside. */
    puts(rl_get_termcap("ce") && history_length == 1 ? rl_library_version : "no terminal");
    return 0;
}
