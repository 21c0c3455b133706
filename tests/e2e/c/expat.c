#include <expat.h>
#include <stdio.h>
#include <string.h>

static int starts, texts;

static void start(void *data, const XML_Char *name, const XML_Char **attributes) {
    (void)data;
    starts += !strcmp(name, "a") && attributes[0] && !strcmp(attributes[1], "1");
}

static void text(void *data, const XML_Char *characters, int length) {
    (void)data;
    texts += length == 2 && !memcmp(characters, "\xc3\xa4", 2);
}

int main(void) {
    const char document[] = "<?xml version='1.0' encoding='iso-8859-1'?>"
        "<!DOCTYPE a [<!ENTITY e '&#228;'>]><a b='1'>&e;</a>";
    XML_Expat_Version version = XML_ExpatVersionInfo();
    XML_Parser parser = XML_ParserCreate(NULL);
    XML_SetElementHandler(parser, start, NULL);
    XML_SetCharacterDataHandler(parser, text);
    if (XML_Parse(parser, document, sizeof document - 1, 1) != XML_STATUS_OK) return 1;
    if (starts != 1 || texts != 1) return 2;
    XML_ParserFree(parser);
    printf("%d.%d.%d\n", version.major, version.minor, version.micro);
    return 0;
}
