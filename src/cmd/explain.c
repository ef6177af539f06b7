/*
 * explain.c - `ntmm explain`: a bug check and its parameters in words. SPDX-License-Identifier: MIT
 */
#include <strings.h>
#include "cmd.h"

static const char Help[] =
    "usage: ntmm explain CODE [PARAMETER...] [--json]\n"
    "\n"
    "Says what a bug check means: its name, what leads to it, and what its parameters say. CODE is a number "
    "(0xC2) or a\n"
    "name (BAD_POOL_CALLER). With parameters (up to four) it says what those values mean.\n"
    "\n"
    "  ntmm explain 0xC2 7     an ExFreePool of a block that is already free\n"
    "\n"
    "Exit code: 0, or 2 if the code is not known.\n";

static bool FindName(const char *Text, uint64_t *Code)
{
    ULONG Number = 0;
    const char *Name;
    for (ULONG Index = 0; (Name = KiBugCheckAt(Index, &Number)) != NULL; Index++) {
        if (strcasecmp(Name, Text) == 0) {
            *Code = Number;
            return true;
        }
    }
    return false;
}

/* Neither number nor name: says which names have the text in them, or that it would be a number with 0x. */
static int Unknown(const char *Text)
{
    char Like[512] = "", Hex[32];
    const char *Name;
    size_t Used = 0;
    ULONG Number = 0;
    uint64_t Code;
    for (ULONG Index = 0; strlen(Text) > 2 && (Name = KiBugCheckAt(Index, &Number)) != NULL && Used < 300; Index++) {
        if (strcasestr(Name, Text) != NULL) {
            Used += (size_t)snprintf(Like + Used, sizeof Like - Used, "%s%s", Used != 0 ? ", " : "; names like it: ", Name);
        }
    }
    snprintf(Hex, sizeof Hex, "0x%.28s", Text);
    if (Used == 0 && CmdNumber(Hex, &Code) && Code <= MAXULONG && ntmm_explain((uint32_t)Code, NULL, 0, NULL, 0) != 0) {
        snprintf(Like, sizeof Like, "; %s is one", Hex);
    }
    return CmdComplain("\"%s\" is neither a bug check's number nor its name%s", Text, Like);
}

int CmdExplain(int Argc, char **Argv)
{
    uint64_t Code = 0, Parameters[4];
    unsigned Count = 0;
    bool Json = false, HaveCode = false;
    for (int Index = 1; Index < Argc; Index++) {
        const char *Text = Argv[Index];
        if (strcmp(Text, "--help") == 0) {
            fputs(Help, stdout);
            return CMD_CLEAN;
        }
        if (strcmp(Text, "--json") == 0) {
            Json = true;
        } else if (Text[0] == '-') {
            return CmdUnknown("explain", Text);
        } else if (!HaveCode) {
            HaveCode = CmdNumber(Text, &Code) || FindName(Text, &Code);
            if (!HaveCode || Code > MAXULONG) {
                return Unknown(Text);
            }
        } else if (Count == 4) {
            return CmdComplain("a bug check has four parameters; \"%s\" is a fifth", Text);
        } else if (!CmdNumber(Text, &Parameters[Count])) {
            return CmdComplain("\"%s\" is not a number", Text);
        } else {
            Count++;
        }
    }
    if (!HaveCode) {
        return CmdComplain("ntmm explain needs a bug check code (ntmm explain --help)");
    }
    size_t Length = ntmm_explain((uint32_t)Code, Parameters, Count, NULL, 0);
    char *Text = Length != 0 ? malloc(Length + 1) : NULL;
    if (Text == NULL) {
        return CmdComplain("bug check 0x%X is not one that ntmm knows", (unsigned)Code);
    }
    ntmm_explain((uint32_t)Code, Parameters, Count, Text, Length + 1);
    if (Json) {
        json_t *Root = HostExplainJson((uint32_t)Code, Parameters, Count);
        json_object_set_new(Root, "text", json_string(Text));
        CmdPrintJson(Root);
    } else {
        printf("%s%s", Text, Text[Length - 1] == '\n' ? "" : "\n");
    }
    free(Text);
    return CMD_CLEAN;
}
