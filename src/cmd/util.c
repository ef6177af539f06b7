/*
 * util.c - arguments, numbers and text for the command. SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include "cmd.h"

int CmdComplain(const char *Format, ...)
{
    va_list Arguments;
    va_start(Arguments, Format);
    fflush(stdout);
    fputs("ntmm: ", stderr);
    vfprintf(stderr, Format, Arguments);
    fputc('\n', stderr);
    va_end(Arguments);
    return CMD_USAGE;
}

int CmdFinishOutput(int Code)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return CmdComplain("cannot write the output");
    }
    return Code;
}

bool CmdNumber(const char *Text, uint64_t *Value)
{
    char *End;
    if (*Text < '0' || *Text > '9') {
        return false;
    }
    errno = 0;
    *Value = strtoull(Text, &End, Text[0] == '0' && (Text[1] | 32) == 'x' ? 16 : 10);
    return errno == 0 && *End == 0 && End != Text;
}

int CmdTakeValue(int Argc, char **Argv, int *Index, const char *Name, const char **Value)
{
    size_t Length = strlen(Name);
    const char *Argument = Argv[*Index];
    if (strncmp(Argument, "--", 2) != 0 || strncmp(Argument + 2, Name, Length) != 0) {
        return 0;
    }
    if (Argument[2 + Length] == '=') {
        *Value = Argument + 3 + Length;
        return 1;
    }
    if (Argument[2 + Length] != 0) {
        return 0;
    }
    if (*Index + 1 >= Argc) {
        CmdComplain("option --%s needs a value", Name);
        return -1;
    }
    *Value = Argv[++*Index];
    return 1;
}

int CmdTakeSystemOption(int Argc, char **Argv, int *Index, ntmm_options *Options)
{
    const char *Form, *Meaning, *Key, *Value;
    for (unsigned Option = 0; (Key = ntmm_option_help(Option, &Form, &Meaning)) != NULL; Option++) {
        if (strcmp(Key, "json") == 0) {
            continue; /* the command's own --json implies it */
        }
        int Taken = CmdTakeValue(Argc, Argv, Index, Key, &Value);
        if (Taken == 1 && ntmm_set_option(Options, Key, Value) != 0) {
            CmdComplain("%s", ntmm_error());
            return -1;
        }
        if (Taken != 0) {
            return Taken;
        }
    }
    return 0;
}

void CmdPrintSystemOptions(FILE *Out)
{
    const char *Form, *Meaning, *Key;
    fputs("Options of the system (also as NTMM_OPTIONS=\"key=value,...\"):\n", Out);
    for (unsigned Option = 0; (Key = ntmm_option_help(Option, &Form, &Meaning)) != NULL; Option++) {
        char Left[64];
        if (strcmp(Key, "json") != 0) {
            snprintf(Left, sizeof(Left), "--%s=%s", Key, Form);
            fprintf(Out, "  %-26s %s\n", Left, Meaning);
        }
    }
}

bool CmdDefaultOptions(ntmm_options *Options)
{
    const char *Text = getenv("NTMM_OPTIONS");
    ntmm_default_options(Options);
    Options->keep = false; /* who looks for bugs wants a touch of a freed block to stop */
    if (Text != NULL && ntmm_parse_options(Text, Options) != 0) {
        CmdComplain("NTMM_OPTIONS: %s", ntmm_error());
        return false;
    }
    return true;
}

int CmdUnknown(const char *Command, const char *Option)
{
    return CmdComplain("ntmm %s has no option \"%s\"; `ntmm %s --help` lists the ones it has", Command, Option, Command);
}

const char *CmdBytes(uint64_t Bytes, char Text[32])
{
    static const char *const Units[] = {"KiB", "MiB", "GiB", "TiB"};
    if (Bytes < 10240) {
        char Number[32];
        snprintf(Text, 32, "%.20s byte%s", CmdCount(Bytes, Number), Bytes == 1 ? "" : "s");
        return Text;
    }
    unsigned Unit = 0;
    uint64_t Scaled = Bytes * 10 / 1024;
    while (Scaled >= 10240 && Unit + 1 < ARRAYSIZE(Units)) {
        Scaled /= 1024;
        Unit++;
    }
    if (Scaled % 10 == 0) {
        snprintf(Text, 32, "%llu %s", (unsigned long long)Scaled / 10, Units[Unit]);
    } else {
        snprintf(Text, 32, "%llu.%llu %s", (unsigned long long)Scaled / 10, (unsigned long long)Scaled % 10, Units[Unit]);
    }
    return Text;
}

const char *CmdCount(uint64_t Count, char Text[32])
{
    char Digits[24];
    int Length = snprintf(Digits, sizeof(Digits), "%llu", (unsigned long long)Count), Out = 0;
    for (int Index = 0; Index < Length; Index++) {
        if (Index != 0 && (Length - Index) % 3 == 0) {
            Text[Out++] = ',';
        }
        Text[Out++] = Digits[Index];
    }
    Text[Out] = 0;
    return Text;
}

const char *CmdTag(uint32_t Tag, char Text[5])
{
    for (unsigned Index = 0; Index < 4; Index++) {
        unsigned char Letter = (unsigned char)((Tag & 0x7FFFFFFFu) >> (8 * Index));
        Text[Index] = Letter >= ' ' && Letter <= '~' ? (char)Letter : '.';
    }
    Text[4] = 0;
    return Text;
}

void CmdPrintJson(json_t *Root)
{
    json_dumpf(Root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(Root);
}

json_t *CmdHex(uint64_t Value)
{
    return json_sprintf("0x%llx", (unsigned long long)Value);
}
