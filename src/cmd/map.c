/*
 * map.c - `ntmm map`: the kernel's regions and the machine's memory, as a system with these options has them.
 * SPDX-License-Identifier: MIT
 */
#include "cmd.h"
#include "mm/mm.h"

static const char Help[] =
    "usage: ntmm map [--memory] [--KEY=VALUE...] [--json]\n"
    "\n"
    "Starts a system with the options given and shows its regions of address space "
    "(where, how large, how much is in use\n"
    "and may be used) and its physical memory, run by run. Addresses differ from "
    "start to start: the host decides.\n"
    "\n"
    "--memory  instead: the page lists and counters as the debugger's !vm and !memusage show them, during a\n"
    "          demonstration that uses more paged pool than RAM has room for; and over time. Give it\n"
    "          --ram=64M --pagefile=/tmp/page.sys to see pages go out and come back.\n\n";

static json_t *RegionJson(const MM_REGION_INFO *Info)
{
    return json_pack("{s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "name", Info->Name, "base", CmdHex(Info->Base), "end",
                     CmdHex(Info->End), "size", (json_int_t)(Info->End - Info->Base), "pages_in_use",
                     (json_int_t)Info->PagesInUse, "peak_pages", (json_int_t)Info->PeakPages, "page_limit",
                     (json_int_t)Info->PageLimit, "failures", (json_int_t)Info->Failures);
}

static int Show(bool Json)
{
    MM_COUNTERS Counters;
    ULONG RunCount;
    const HAL_RUN *Runs = HostRuns(&RunCount);
    json_t *Regions = json_array(), *Memory = json_array();
    char A[32], B[32], C[32], D[32], E[32];
    MmQueryCounters(&Counters);
    if (!Json) {
        printf("%-22s %-37s %9s %12s %12s\n", "Region", "Addresses", "Size", "In use", "May use");
    }
    for (int Region = MmRegionNone + 1; Region < MmRegionMaximum; Region++) {
        MM_REGION_INFO Info;
        MmQueryRegion((MM_REGION)Region, &Info);
        if (Info.Name == NULL || Info.End == Info.Base) {
            continue;
        }
        json_array_append_new(Regions, RegionJson(&Info));
        if (!Json) {
            printf("%-22s %016llx - %016llx %11s %12s %12s\n", Info.Name, Info.Base, Info.End - 1,
                   CmdBytes(Info.End - Info.Base, A), CmdBytes(Info.PagesInUse * 4096, B), CmdBytes(Info.PageLimit * 4096, C));
        }
    }
    if (!Json) {
        printf("\n%-22s %-37s %9s\n", "Physical memory", "Addresses", "Size");
    }
    for (ULONG Index = 0; Index < RunCount; Index++) {
        uint64_t First = Runs[Index].BasePage << 12, Bytes = Runs[Index].PageCount << 12;
        json_array_append_new(Memory, json_pack("{s:s, s:o, s:I}", "kind", Runs[Index].Device ? "device" : "ram", "base",
                                                CmdHex(First), "size", (json_int_t)Bytes));
        if (!Json) {
            printf("%-22s %016llx - %016llx %11s\n", Runs[Index].Device ? "device memory" : "RAM", (unsigned long long)First,
                   (unsigned long long)(First + Bytes - 1), CmdBytes(Bytes, A));
        }
    }
    if (Json) {
        json_t *Root =
            json_pack("{s:o, s:o, s:{s:I, s:I, s:I, s:I}}", "regions", Regions, "memory", Memory, "pages", "total",
                      (json_int_t)Counters.TotalPages, "free", (json_int_t)(Counters.FreePages + Counters.ZeroedPages),
                      "committed", (json_int_t)Counters.Committed, "commit_limit", (json_int_t)Counters.CommitLimit);
        CmdReportPageFiles(true, Root);
        CmdPrintJson(Root);
    } else {
        json_decref(Regions);
        json_decref(Memory);
        printf("\n%s of RAM in frames of 4 KiB: %s free, %s in use. Committed: %s of %s.\n",
               CmdBytes(Counters.TotalPages * 4096, A), CmdCount(Counters.FreePages + Counters.ZeroedPages, B),
               CmdCount(Counters.ActivePages, C), CmdBytes(Counters.Committed * 4096, D),
               CmdBytes(Counters.CommitLimit * 4096, E));
        CmdReportPageFiles(false, NULL);
    }
    return CMD_CLEAN;
}

int CmdMap(int Argc, char **Argv)
{
    ntmm_options Options;
    bool Json = false, Memory = false;
    for (int Index = 1; Index < Argc; Index++) {
        if (strcmp(Argv[Index], "--help") == 0) {
            fputs(Help, stdout);
            CmdPrintSystemOptions(stdout);
            return CMD_CLEAN;
        }
    }
    if (!CmdDefaultOptions(&Options)) {
        return CMD_USAGE;
    }
    for (int Index = 1; Index < Argc; Index++) {
        int Taken = 1;
        if (strcmp(Argv[Index], "--json") == 0) {
            Json = true;
        } else if (strcmp(Argv[Index], "--memory") == 0) {
            Memory = true;
        } else {
            Taken = CmdTakeSystemOption(Argc, Argv, &Index, &Options);
        }
        if (Taken < 0) {
            return CMD_USAGE;
        }
        if (Taken == 0) {
            return CmdUnknown("map", Argv[Index]);
        }
    }
    if (ntmm_start(&Options) != 0) {
        return CmdComplain("%s", ntmm_error());
    }
    int Code = CMD_CLEAN;
    if (Memory) {
        json_t *Root = json_object();
        CmdDemonstrate(Json, Root);
        CmdReportPageFiles(Json, Root);
        if (Json) {
            CmdPrintJson(Root);
        } else {
            json_decref(Root);
        }
    } else {
        Code = Show(Json);
    }
    ntmm_stop();
    return Code;
}
