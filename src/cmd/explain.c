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
            HaveCode = CmdNumber(Text, &Code);
            for (uint32_t Try = 0; !HaveCode && Try < 0x1000; Try++) {
                const char *Name = ntmm_bugcheck_name(Try);
                if (Name != NULL && strcasecmp(Name, Text) == 0) {
                    Code = Try;
                    HaveCode = true;
                }
            }
            if (!HaveCode || Code > MAXULONG) {
                return CmdComplain("\"%s\" is neither a bug check's number nor its name", Text);
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
        json_t *Array = json_array();
        for (unsigned Index = 0; Index < Count; Index++) {
            json_array_append_new(Array, CmdHex(Parameters[Index]));
        }
        CmdPrintJson(json_pack("{s:o, s:s?, s:o, s:s}", "code", CmdHex(Code), "name", ntmm_bugcheck_name((uint32_t)Code),
                               "parameters", Array, "text", Text));
    } else {
        printf("%s%s", Text, Text[Length - 1] == '\n' ? "" : "\n");
    }
    free(Text);
    return CMD_CLEAN;
}
