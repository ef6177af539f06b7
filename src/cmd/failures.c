/*
 * failures.c - `ntmm run --fail-each`: the options, the progress line and the report of a campaign of failures.
 * SPDX-License-Identifier: MIT
 *
 * The campaign itself is ntmm_fail_each (host/campaign.c); a run of it is what `ntmm run` does, its report dropped. A state file
 * belongs to one driver file (its bytes are hashed), one list of arguments and one shard.
 *
 * Exit code: 0 every failure was handled, 1 one was not, 2 wrong usage, or the driver does not run even without a failure.
 */
#include <unistd.h>
#include "cmd.h"
#include "host/campaign.h"

typedef struct REPORT {
    bool Json, Terminal, Shown;
    json_t *Points;
    unsigned Told;
} REPORT;

int CmdTakeFailures(int Argc, char **Argv, int *Index, CMD_FAILURES *Failures)
{
    static const char *const Names[] = {"shard", "jobs", "state", "limit"};
    const char *Value;
    uint64_t Number;
    unsigned Which;
    int Taken = 0;
    char More;
    for (Which = 0; Which < ARRAYSIZE(Names) && (Taken = CmdTakeValue(Argc, Argv, Index, Names[Which], &Value)) == 0; Which++) {
    }
    if (Taken != 1) {
        return Taken;
    }
    Failures->Given = Names[Which];
    switch (Which) {
    case 0:
        if (sscanf(Value, "%u/%u%c", &Failures->Shard, &Failures->Shards, &More) != 2 || Failures->Shards == 0 ||
            Failures->Shard == 0 || Failures->Shard > Failures->Shards) {
            CmdComplain("--shard %s: I/N is wanted, with I from 1 to N, for example 2/4", Value);
            return -1;
        }
        return 1;
    case 2:
        Failures->State = Value;
        return 1;
    default:
        if (!CmdNumber(Value, &Number) || Number == 0 || Number > (Which == 1 ? 64u : 86400u)) {
            CmdComplain("--%s: \"%s\" is not a number from 1 to %u", Names[Which], Value, Which == 1 ? 64u : 86400u);
            return -1;
        }
        *(Which == 1 ? &Failures->Jobs : &Failures->Limit) = (unsigned)Number;
        return 1;
    }
}

static uint64_t HashBytes(uint64_t Hash, const void *Bytes, size_t Length)
{
    for (const unsigned char *At = Bytes; Length-- != 0; At++) {
        Hash = (Hash ^ *At) * 0x100000001B3ull;
    }
    return Hash;
}

/* What is run: the driver's bytes, the arguments that change a run, and this program's version. */
static void Identify(int Argc, char **Argv, const char *Path, char Text[64])
{
    uint64_t Hash = 0xCBF29CE484222325ull;
    unsigned char Bytes[4096];
    size_t Length;
    FILE *File = fopen(Path, "rbe");
    while (File != NULL && (Length = fread(Bytes, 1, sizeof(Bytes), File)) != 0) {
        Hash = HashBytes(Hash, Bytes, Length);
    }
    if (File != NULL) {
        fclose(File);
    }
    for (int Index = 1; Index < Argc; Index++) {
        static const char *const Ours[] = {"--state", "--jobs", "--limit"};
        bool Skip = strcmp(Argv[Index], "--json") == 0 || strncmp(Argv[Index], "--shard", 7) == 0;
        for (unsigned Which = 0; Which < ARRAYSIZE(Ours) && !Skip; Which++) {
            size_t Name = strlen(Ours[Which]);
            if (strncmp(Argv[Index], Ours[Which], Name) == 0 && (Argv[Index][Name] == 0 || Argv[Index][Name] == '=')) {
                Skip = true;
                Index += Argv[Index][Name] == 0;
            }
        }
        if (!Skip) {
            Hash = HashBytes(Hash, Argv[Index], strlen(Argv[Index]) + 1);
        }
    }
    Hash = HashBytes(Hash, ntmm_version(), strlen(ntmm_version()));
    snprintf(Text, 64, "%016llx", (unsigned long long)Hash);
}

static void Wipe(REPORT *Report)
{
    if (Report->Shown) {
        fputs("\r\033[K", stderr);
        Report->Shown = false;
    }
}

static void Progress(unsigned Done, unsigned Known, void *Context)
{
    REPORT *Report = Context;
    if (Report->Terminal) {
        Report->Shown = true;
        fprintf(stderr, "\r\033[Kntmm: %u of %u failure points", Done, Known);
        fflush(stderr);
    }
}

static void Tell(const ntmm_fail_point *Point, void *Context)
{
    REPORT *Report = Context;
    char Tag[5], Size[32];
    Wipe(Report);
    if (Report->Json) {
        json_array_append_new(Report->Points,
                              json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:i, s:b, s:s}", "key", Point->key, "outcome",
                                        HostFailOutcomeName(Point->outcome), "resource", Point->resource, "where", Point->where,
                                        "tag", CmdTag(Point->tag, Tag), "size", (json_int_t)Point->size, "depth",
                                        (int)Point->depth, "resumed", (int)Point->resumed, "detail", Point->detail));
        return;
    }
    if (Report->Told++ == 0) {
        printf("%-12s %-8s %-5s %10s  %s\n", "Outcome", "Resource", "Tag", "Size", "Where; key");
    }
    printf("%-12s %-8s %-5s %10s  %s\n", HostFailOutcomeName(Point->outcome), Point->resource,
           Point->tag != 0 ? CmdTag(Point->tag, Tag) : "", CmdBytes(Point->size, Size), Point->where);
    if (Point->detail[0] != 0) {
        printf("%40s%s\n", "", Point->detail);
    }
    printf("%40s%s\n", "", Point->key);
}

int CmdFailEach(ntmm_fail_outcome (*Run)(void *), void *Context, const CMD_FAILURES *Failures, const ntmm_options *System,
                int Argc, char **Argv, const char *Path, bool Json)
{
    const char *Kind = getenv("TERM");
    ntmm_fail_summary Sum = {.points = 0};
    REPORT Report = {
        .Json = Json, .Terminal = isatty(STDERR_FILENO) && Kind != NULL && strcmp(Kind, "dumb") != 0, .Points = json_array()};
    ntmm_fail_options Options;
    char Identity[64];
    Identify(Argc, Argv, Path, Identity);
    ntmm_default_fail_options(&Options);
    Options.jobs = Failures->Jobs;
    Options.shard = Failures->Shards != 0 ? Failures->Shard : 1;
    Options.shards = Failures->Shards != 0 ? Failures->Shards : 1;
    Options.limit = Failures->Limit != 0 ? Failures->Limit : Options.limit;
    Options.state = Failures->State;
    Options.identity = Identity;
    Options.system = System;
    Options.images_only = true;
    Options.report = Tell;
    Options.progress = Progress;
    Options.context = &Report;
    int Result = ntmm_fail_each(Run, Context, &Options, &Sum);
    Wipe(&Report);
    if (Result < 0) {
        json_decref(Report.Points);
        return CmdComplain("%s: %s", Path, ntmm_error());
    }
    if (Json) {
        CmdPrintJson(json_pack("{s:s, s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "file", Path, "points",
                               Report.Points, "handled", (int)Sum.outcomes[NTMM_FAIL_HANDLED], "leaked",
                               (int)Sum.outcomes[NTMM_FAIL_LEAKED], "crashed", (int)Sum.outcomes[NTMM_FAIL_CRASHED], "hung",
                               (int)Sum.outcomes[NTMM_FAIL_HUNG], "wrong", (int)Sum.outcomes[NTMM_FAIL_WRONG], "not_reached",
                               (int)Sum.outcomes[NTMM_FAIL_NOT_REACHED], "resumed", (int)Sum.resumed, "runs", (int)Sum.runs,
                               "lost", (int)Sum.lost, "findings_without_failure", (int)Sum.findings));
        return Result == 0 ? CMD_CLEAN : CMD_FINDING;
    }
    json_decref(Report.Points);
    printf("\n%s: %u failure point%s in %u run%s: %u handled, %u leaked, %u crashed, %u hung, %u wrong, %u not reached.\n",
           Path, Sum.points, Sum.points == 1 ? "" : "s", Sum.runs, Sum.runs == 1 ? "" : "s", Sum.outcomes[NTMM_FAIL_HANDLED],
           Sum.outcomes[NTMM_FAIL_LEAKED], Sum.outcomes[NTMM_FAIL_CRASHED], Sum.outcomes[NTMM_FAIL_HUNG],
           Sum.outcomes[NTMM_FAIL_WRONG], Sum.outcomes[NTMM_FAIL_NOT_REACHED]);
    if (Sum.resumed != 0) {
        printf("%u of them were done before, in %s.\n", Sum.resumed, Failures->State);
    }
    if (Sum.findings != 0) {
        printf(
            "The run without a failure has %u finding%s of its own (ntmm run shows %s); only what goes beyond counts here.\n",
            Sum.findings, Sum.findings == 1 ? "" : "s", Sum.findings == 1 ? "it" : "them");
    }
    if (Sum.lost != 0) {
        printf("%u more stacks did not fit the table and were not tried.\n", Sum.lost);
    }
    if (Result != 0) {
        printf("Replay one: ntmm run, the same arguments, and --fail-at KEY in place of --fail-each.\n");
    }
    return Result == 0 ? CMD_CLEAN : CMD_FINDING;
}
