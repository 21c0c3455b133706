#include <stdio.h>
#include <string.h>
#include <uuid/uuid.h>

int main(void) {
    uuid_t random, timed, dns, named;
    char text[37];
    uuid_generate_random(random);
    uuid_generate_time_safe(timed);
    if (uuid_type(random) != 4 || uuid_type(timed) != 1) return 1;
    uuid_parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8", dns);
    uuid_generate_sha1(named, dns, "python.org", 10);
    uuid_unparse_lower(named, text);
    /* As in Python's documentation. */
    if (strcmp(text, "886313e1-3b8a-5372-9b90-0c9aee199e5d")) return 2;
    puts("ok");
    return 0;
}
