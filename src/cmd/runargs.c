/*
 * runargs.c - the arguments of `ntmm run`. SPDX-License-Identifier: MIT
 *
 * Requests are a list, in their order; an option of a request (--in, --offset, --repeat) belongs to the last one before it.
 */
#include <sys/stat.h>
#include "run.h"

#define MAX_INPUT (16u << 20)

static const char Help[] =
    "usage: ntmm run DRIVER.sys [REQUEST...] [OPTION...]\n"
    "\n"
    "Loads a Windows driver (x64), calls its DriverEntry, opens its device, sends it the requests in the "
    "order given,\n"
    "closes it, calls DriverUnload, and reports: pool use by tag, page faults, and what it did not free and "
    "where that\n"
    "was allocated. If it misuses memory the run ends there, with the bug check that Windows would show.\n"
    "\n"
    "Requests:\n"
    "  --ioctl CODE               a device control request, for example 0x222000\n"
    "     --in HEX|FILE           its input: bytes as hexadecimal digits, or a file of that name\n"
    "     --out-size N            room for its output, in bytes\n"
    "  --read N                   read N bytes\n"
    "  --write HEX|FILE           write these bytes\n"
    "     --offset N              where the read or write before it begins\n"
    "  --repeat N                 send the request before it N times\n"
    "\n"
    "Options:\n"
    "  --device NAME              what to open: \\Device\\Name, \\\\.\\Name or Name; the first device that "
    "the driver made\n"
    "                             is opened otherwise\n"
    "  --pnp ID                   the driver serves a plug-and-play device with this hardware ID: it is made "
    "for it\n"
    "  --section NAME=SIZE        make a named section that the driver shares with a program; repeatable\n"
    "  --service NAME=IMAGEPATH   make the registry key of a driver that this one may load by ZwLoadDriver; "
    "repeatable\n"
    "  --with FILE.sys            load another image first, for the driver to import from; repeatable\n"
    "  --timeout MS               cancel a request that takes longer (10000; 0: never)\n"
    "  --json                     the report for machines, on standard output\n"
    "  --no-fork                  stay in this process, for a debugger\n"
    "\n"
    "Failures:\n"
    "  --fail-each                run once for each request for memory that the driver makes, with that one refused, and\n"
    "                             for each that only then becomes reachable; list how each was taken\n"
    "     --shard I/N             only part I of N, for as many machines\n"
    "     --jobs N                runs side by side (the machine's processors)\n"
    "     --state FILE            remember there what was done, and go on from there\n"
    "     --limit SECONDS         how long a run may take (60)\n"
    "  --fail-at KEY              one ordinary run, with the requests of that key refused\n"
    "\n";
static const char Examples[] =
    "\n"
    "Exit code: 0 clean, 1 a finding (bug check, leak, failed DriverEntry), 2 wrong usage or a file that "
    "cannot be loaded.\n"
    "\n"
    "  ntmm run ramdisk.sys\n"
    "  ntmm run ramdisk.sys --ioctl 0x72004 --in 626f6f74 --ioctl 0x72008 --out-size 32\n"
    "  ntmm run ramdisk.sys --ram=64M --cpus=1 --json\n";

/* Bytes of an --in or --write: hexadecimal digits in pairs, else a file's name. */
static bool TakeBytes(const char *Text, STEP *Step)
{
    const char *Digits = Text[0] == '0' && (Text[1] | 32) == 'x' ? Text + 2 : Text;
    size_t Length = strlen(Digits);
    struct stat Facts;
    free(Step->In);
    Step->In = NULL;
    Step->InBytes = 0;
    if (Length % 2 == 0 && Length != 0 && strspn(Digits, "0123456789abcdefABCDEF") == Length) {
        Step->In = malloc(Length / 2);
        for (size_t Index = 0; Step->In != NULL && Index < Length / 2; Index++) {
            unsigned Byte;
            char Pair[3] = {Digits[Index * 2], Digits[Index * 2 + 1], 0};
            sscanf(Pair, "%x", &Byte);
            Step->In[Index] = (unsigned char)Byte;
        }
        Step->InBytes = (uint32_t)(Length / 2);
        return Step->In != NULL;
    }
    FILE *File = fopen(Text, "rbe");
    if (File == NULL || fstat(fileno(File), &Facts) != 0 || !S_ISREG(Facts.st_mode)) {
        CmdComplain("\"%s\" is neither an even number of hexadecimal digits nor a file that can be read", Text);
        if (File != NULL) {
            fclose(File);
        }
        return false;
    }
    if (Facts.st_size > MAX_INPUT) {
        CmdComplain("%s: %lld bytes; a request's input has at most 16 MiB", Text, (long long)Facts.st_size);
        fclose(File);
        return false;
    }
    Step->In = malloc((size_t)Facts.st_size + 1);
    Step->InBytes = Step->In != NULL ? (uint32_t)fread(Step->In, 1, (size_t)Facts.st_size, File) : 0;
    fclose(File);
    return Step->In != NULL;
}

static bool TakeNumber(const char *Option, const char *Text, uint64_t Limit, uint64_t *Value)
{
    if (!CmdNumber(Text, Value) || *Value > Limit) {
        CmdComplain("--%s: \"%s\" is not a number from 0 to %llu", Option, Text, (unsigned long long)Limit);
        return false;
    }
    return true;
}

static STEP *NewStep(RUN *Run, STEP_KIND Kind)
{
    if (Run->StepCount == MAX_STEPS) {
        CmdComplain("more than %d requests; --repeat sends one many times", MAX_STEPS);
        return NULL;
    }
    STEP *Step = &Run->Steps[Run->StepCount++];
    Step->Kind = Kind;
    Step->Repeat = 1;
    return Step;
}

static bool TakeSection(RUN *Run, const char *Value)
{
    const char *Size = strrchr(Value, '=');
    uint64_t Bytes;
    if (Size == NULL || Size == Value || Value[0] != '\\' || Size - Value >= MAX_SECTION_NAME || !CmdNumber(Size + 1, &Bytes) ||
        Bytes == 0 || Bytes > MAX_OUTPUT) {
        CmdComplain("--section %s: a name that begins with a backslash, =, and 1 to %u bytes are wanted, for example "
                    "\\BaseNamedObjects\\shared=4096",
                    Value, MAX_OUTPUT);
        return false;
    }
    if (Run->SectionCount == MAX_WITH) {
        CmdComplain("more than %d sections with --section", MAX_WITH);
        return false;
    }
    Run->Sections[Run->SectionCount++] = Value;
    return true;
}

static bool TakeService(RUN *Run, const char *Value)
{
    const char *Image = strchr(Value, '=');
    if (Image == NULL || Image == Value || Image[1] == 0 || memchr(Value, '\\', (size_t)(Image - Value)) != NULL ||
        strlen(Value) >= MAX_SECTION_NAME) {
        CmdComplain("--service %s: a name, =, and the path of its file are wanted, for example "
                    "other=\\??\\C:\\other.sys",
                    Value);
        return false;
    }
    if (Run->ServiceCount == MAX_WITH) {
        CmdComplain("more than %d services with --service", MAX_WITH);
        return false;
    }
    Run->Services[Run->ServiceCount++] = Value;
    return true;
}

/* One option that has a value; 1 taken, 0 not ours, -1 complained. */
static int TakeOption(RUN *Run, int Argc, char **Argv, int *Index)
{
    enum {
        OptIoctl,
        OptIn,
        OptOutSize,
        OptRead,
        OptWrite,
        OptOffset,
        OptRepeat,
        OptDevice,
        OptPnp,
        OptWith,
        OptSection,
        OptTimeout,
        OptService
    };
    static const char *const Names[] = {"ioctl",  "in",  "out-size", "read",    "write",   "offset", "repeat",
                                        "device", "pnp", "with",     "section", "timeout", "service"};
    STEP *Last = Run->StepCount != 0 ? &Run->Steps[Run->StepCount - 1] : NULL, *Step;
    const char *Value;
    uint64_t Number;
    int Taken = 0;
    unsigned Which;
    for (Which = 0; Which < ARRAYSIZE(Names) && (Taken = CmdTakeValue(Argc, Argv, Index, Names[Which], &Value)) == 0; Which++) {
    }
    if (Taken != 1) {
        return Taken;
    }
    switch (Which) {
    case OptIoctl:
        if (!TakeNumber("ioctl", Value, MAXULONG, &Number) || (Step = NewStep(Run, StepControl)) == NULL) {
            return -1;
        }
        Step->Code = (uint32_t)Number;
        return 1;
    case OptIn:
        if (Last == NULL || Last->Kind != StepControl) {
            CmdComplain("--in belongs behind the --ioctl whose input it is");
            return -1;
        }
        return TakeBytes(Value, Last) ? 1 : -1;
    case OptOutSize:
        if (Last == NULL || Last->Kind != StepControl) {
            CmdComplain("--out-size belongs behind the --ioctl whose output it bounds");
            return -1;
        }
        if (!TakeNumber("out-size", Value, MAX_OUTPUT, &Number)) {
            return -1;
        }
        Last->Out = (uint32_t)Number;
        return 1;
    case OptRead:
        if (!TakeNumber("read", Value, MAX_OUTPUT, &Number) || (Step = NewStep(Run, StepRead)) == NULL) {
            return -1;
        }
        Step->Out = (uint32_t)Number;
        return 1;
    case OptWrite:
        return (Step = NewStep(Run, StepWrite)) != NULL && TakeBytes(Value, Step) ? 1 : -1;
    case OptOffset:
        if (Last == NULL || Last->Kind == StepControl) {
            CmdComplain("--offset belongs behind the --read or --write that begins there");
            return -1;
        }
        if (!TakeNumber("offset", Value, MAXLONGLONG, &Number)) {
            return -1;
        }
        Last->Offset = (int64_t)Number;
        return 1;
    case OptRepeat:
        if (Last == NULL) {
            CmdComplain("--repeat belongs behind the request that it repeats");
            return -1;
        }
        if (!TakeNumber("repeat", Value, 1000000000, &Number)) {
            return -1;
        }
        Last->Repeat = (uint32_t)Number;
        return 1;
    case OptDevice:
        Run->Device = Value;
        return 1;
    case OptPnp:
        Run->Pnp = Value;
        return 1;
    case OptWith:
        if (Run->WithCount == MAX_WITH) {
            CmdComplain("more than %d images with --with", MAX_WITH);
            return -1;
        }
        Run->With[Run->WithCount++] = Value;
        return 1;
    case OptSection:
        return TakeSection(Run, Value) ? 1 : -1;
    case OptService:
        return TakeService(Run, Value) ? 1 : -1;
    default: /* OptTimeout */
        if (!TakeNumber("timeout", Value, 86400000, &Number)) {
            return -1;
        }
        Run->Timeout = (uint32_t)Number;
        return 1;
    }
}

int RunTakeArguments(RUN *Run, int Argc, char **Argv)
{
    for (int Index = 1; Index < Argc; Index++) {
        if (strcmp(Argv[Index], "--help") == 0) {
            fputs(Help, stdout);
            CmdPrintSystemOptions(stdout);
            fputs(Examples, stdout);
            return CMD_CLEAN;
        }
    }
    if (!CmdDefaultOptions(&Run->Options)) {
        return CMD_USAGE;
    }
    for (int Index = 1; Index < Argc; Index++) {
        int Taken;
        if (strcmp(Argv[Index], "--json") == 0) {
            Run->Json = true;
        } else if (strcmp(Argv[Index], "--no-fork") == 0) {
            Run->NoFork = true;
        } else if (strcmp(Argv[Index], "--fail-each") == 0) {
            Run->FailEach = true;
        } else if ((Taken = CmdTakeValue(Argc, Argv, &Index, "fail-at", &Run->FailAt)) != 0 ||
                   (Taken = CmdTakeFailures(Argc, Argv, &Index, &Run->Failures)) != 0 ||
                   (Taken = TakeOption(Run, Argc, Argv, &Index)) != 0 ||
                   (Taken = CmdTakeSystemOption(Argc, Argv, &Index, &Run->Options)) != 0) {
            if (Taken < 0) {
                return CMD_USAGE;
            }
        } else if (Argv[Index][0] == '-') {
            return CmdUnknown("run", Argv[Index]);
        } else if (Run->Path != NULL) {
            return CmdComplain("ntmm run takes one driver; \"%s\" is a second (--with loads others first)", Argv[Index]);
        } else {
            Run->Path = Argv[Index];
        }
    }
    if (Run->Path == NULL) {
        return CmdComplain("ntmm run needs a driver (ntmm run --help)");
    }
    if (Run->FailEach && (Run->FailAt != NULL || Run->NoFork)) {
        return CmdComplain("--fail-each makes runs of its own: it goes with neither --fail-at nor --no-fork");
    }
    if (!Run->FailEach && Run->Failures.Given != NULL) {
        return CmdComplain("--%s belongs to --fail-each", Run->Failures.Given);
    }
    ULONG64 Path[HOST_FAIL_DEPTH];
    ULONG Depth;
    if (Run->FailAt != NULL && !HostFailParseKey(Run->FailAt, Path, &Depth)) {
        return CmdComplain(
            "--fail-at: \"%s\" is not a failure point's key: 16 hexadecimal digits, or several such joined by '-'",
            Run->FailAt);
    }
    return RUN_GO_ON;
}
