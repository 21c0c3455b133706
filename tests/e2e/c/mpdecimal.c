#include <mpdecimal.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    mpd_context_t context;
    uint32_t status = 0;
    mpd_t *one, *three;
    char *text;
    mpd_init(&context, 9);
    context.traps = 0;
    one = mpd_new(&context), three = mpd_new(&context);
    mpd_set_string(one, "1", &context);
    mpd_set_string(three, "3", &context);
    mpd_qdiv(one, one, three, &context, &status);
    text = mpd_to_sci(one, 1);
    if (strcmp(text, "0.333333333") || !(status & MPD_Inexact)) return 1;
    mpd_free(text);
    mpd_del(one), mpd_del(three);
    puts(mpd_version());
    return 0;
}
