#include <curses.h>
#include <locale.h>
#include <panel.h>
#include <stdio.h>
#include <string.h>
#include <term.h>
#include <wchar.h>

/* With C23, it would be an int; see the recipe. */
_Static_assert(sizeof(NCURSES_BOOL) == 1, "the ABI of distributions");

/* Prints facts of each terminal, then draws on the first one. */
int main(int count, char **names) {
    int i, error;
    wchar_t back[4] = {0};
    SCREEN *screen;
    FILE *out = fopen("/dev/null", "w");
    setlocale(LC_ALL, "C.UTF-8");
    for (i = 1; i < count; i++) {
        if (setupterm(names[i], 1, &error) != OK) {
            printf("%s: unknown\n", names[i]);
            continue;
        }
        printf("%s: %d %d\n", names[i], tigetnum("colors"),
               key_backspace ? (int)(unsigned char)key_backspace[0] : -1);
        del_curterm(cur_term);
    }
    screen = newterm(names[1], out, stdin);
    if (!screen || !new_panel(stdscr)) return 1;
    mvaddwstr(0, 0, L"\u00e4\u3042");
    mvinnwstr(0, 0, back, 2);
    endwin();
    return wcscmp(back, L"\u00e4\u3042") ? 2 : 0;
}
