#include <bzlib.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    static char text[100000], packed[200000], back[100000];
    unsigned packed_size = sizeof packed, size = sizeof back;
    memset(text, 'a', sizeof text);
    if (BZ2_bzBuffToBuffCompress(packed, &packed_size, text, sizeof text, 9, 0, 0)) return 1;
    if (BZ2_bzBuffToBuffDecompress(back, &size, packed, packed_size, 0, 0)) return 2;
    if (size != sizeof text || memcmp(text, back, size)) return 3;
    printf("%.5s\n", BZ2_bzlibVersion());
    return 0;
}
