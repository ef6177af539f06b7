/*
 * main.c - the ntmm command: which subcommand it is, and what they share. SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include "cmd.h"

static const char Help[] =
    "ntmm - the Windows kernel's memory manager in a Linux process: run a Windows driver and see what it "
    "does to memory.\n"
    "\n"
    "  ntmm run DRIVER.sys      load it, call DriverEntry, send it requests, unload it, report what it did "
    "and left\n"
    "  ntmm imports FILE.sys    what it needs from the kernel, and what of that is here\n"
    "  ntmm explain CODE [P..]  what a bug check and its parameters mean: ntmm explain 0xC2 7\n"
    "  ntmm map                 the kernel's regions and the machine's memory\n"
    "\n"
    "`ntmm COMMAND --help` says more. Each takes --json. Exit code: 0 clean, 1 a finding (bug check, leak, "
    "failed\n"
    "DriverEntry, missing import), 2 wrong usage or a file that cannot be loaded.\n";

static const struct {
    const char *Name;
    int (*Routine)(int Argc, char **Argv);
} Commands[] = {{"run", CmdRun}, {"imports", CmdImports}, {"explain", CmdExplain}, {"map", CmdMap}};

/* A standard stream that is closed is made one that cannot be written: the machine's memory must not become descriptor 1. */
static void OccupyStandardStreams(void)
{
    for (int Stream = 0; Stream < 3; Stream++) {
        if (fcntl(Stream, F_GETFD) < 0 && open("/dev/full", O_RDWR) < 0) {
            return;
        }
    }
}

int main(int Argc, char **Argv)
{
    HostIsWholeProgram = TRUE;
    OccupyStandardStreams();
    if (Argc < 2) {
        fputs(Help, stderr);
        return CMD_USAGE;
    }
    if (strcmp(Argv[1], "--help") == 0 || strcmp(Argv[1], "-h") == 0 || strcmp(Argv[1], "help") == 0) {
        fputs(Help, stdout);
        return CMD_CLEAN;
    }
    if (strcmp(Argv[1], "--version") == 0) {
        printf("ntmm %s\n", ntmm_version());
        return CMD_CLEAN;
    }
    for (size_t Index = 0; Index < ARRAYSIZE(Commands); Index++) {
        if (strcmp(Argv[1], Commands[Index].Name) == 0) {
            return CmdFinishOutput(Commands[Index].Routine(Argc - 1, Argv + 1));
        }
    }
    return CmdComplain("unknown command \"%s\"; there are run, imports, explain and map (ntmm --help)", Argv[1]);
}
