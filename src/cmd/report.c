/*
 * report.c - what a driver did to memory: pool use by tag and pool, faults, regions, and what was not freed and from
 * where it was allocated. SPDX-License-Identifier: MIT
 *
 * Pool counters are the system's, so the report is a difference from a baseline taken before the driver was loaded. A block
 * that is still live is the driver's if code of a loaded image is on the stack that allocated it; stacks=0 keeps no
 * stacks, and then every new byte of a tag that grew counts.
 */
#include "cmd.h"
#include "ex/ex.h"
#include "mm/mm.h"
#include <time.h>

#define MAX_TAGS         512
#define MAX_BLOCKS       4096 /* listed; more are counted */
#define MAX_SHOWN        20
#define TAG_HANDLE_TABLE 0x6c54624fu /* 'ObTl' */
#define TAG_THREAD       0x65726854u /* 'Thre' */

typedef struct TAG_TABLE {
    unsigned Count;
    EXP_TAG_USE Use[MAX_TAGS];
} TAG_TABLE;

struct CMD_BASELINE {
    TAG_TABLE Tags;
    MM_COUNTERS Counters;
    EXP_POOL_TOTALS Pools[2];
};

typedef struct BLOCK_LIST {
    unsigned Count, Listed;
    uint64_t Bytes;
    EXP_BLOCK_INFO *Blocks;
} BLOCK_LIST;

static VOID KeepTag(const EXP_TAG_USE *Use, PVOID Context)
{
    TAG_TABLE *Table = Context;
    if (Table->Count < MAX_TAGS) {
        Table->Use[Table->Count++] = *Use;
    }
}

CMD_BASELINE *CmdTakeBaseline(void)
{
    CMD_BASELINE *Baseline = calloc(1, sizeof(*Baseline));
    if (Baseline != NULL) {
        ExpQueryTags(KeepTag, &Baseline->Tags);
        MmQueryCounters(&Baseline->Counters);
        ExpQueryPool(FALSE, &Baseline->Pools[0]);
        ExpQueryPool(TRUE, &Baseline->Pools[1]);
    }
    return Baseline;
}

void CmdFreeBaseline(CMD_BASELINE *Baseline)
{
    free(Baseline);
}

/* What a tag had before the driver came; zeroes if it was not there. */
static EXP_TAG_USE Earlier(const TAG_TABLE *Table, const EXP_TAG_USE *Now)
{
    EXP_TAG_USE None = {.Tag = Now->Tag, .Paged = Now->Paged};
    for (unsigned Index = 0; Index < Table->Count; Index++) {
        if (Table->Use[Index].Tag == Now->Tag && Table->Use[Index].Paged == Now->Paged) {
            return Table->Use[Index];
        }
    }
    return None;
}

static int MoreAllocations(const void *One, const void *Two)
{
    const EXP_TAG_USE *A = One, *B = Two;
    return A->Allocs != B->Allocs ? (A->Allocs < B->Allocs ? 1 : -1) : (A->Tag > B->Tag) - (A->Tag < B->Tag);
}

/* Fills Used with what each tag did since the baseline, busiest first. */
static void TagDifference(const CMD_BASELINE *Baseline, TAG_TABLE *Used)
{
    TAG_TABLE Now = {.Count = 0};
    ExpQueryTags(KeepTag, &Now);
    Used->Count = 0;
    for (unsigned Index = 0; Index < Now.Count; Index++) {
        EXP_TAG_USE Before = Earlier(&Baseline->Tags, &Now.Use[Index]), *Use = &Now.Use[Index];
        Use->Allocs -= Before.Allocs;
        Use->Frees -= Before.Frees;
        Use->Bytes -= Before.Bytes;
        if (Use->Allocs != 0 || Use->Frees != 0) {
            Used->Use[Used->Count++] = *Use;
        }
    }
    qsort(Used->Use, Used->Count, sizeof(Used->Use[0]), MoreAllocations);
}

static BOOLEAN KeepBlock(const EXP_BLOCK_INFO *Info, PVOID Context)
{
    BLOCK_LIST *List = Context;
    bool Drivers = false;
    for (ULONG Index = 0; Index < Info->AllocFrames && Index < EXP_MAX_STACK; Index++) {
        Drivers = Drivers || LdrpFindImage(Info->AllocStack[Index]) != NULL;
    }
    /* The table that a driver's handle made grow is the process's, not the driver's. */
    if (Drivers && Info->Tag != TAG_HANDLE_TABLE) {
        List->Count++;
        List->Bytes += Info->Size;
        if (List->Listed < MAX_BLOCKS) {
            List->Blocks[List->Listed++] = *Info;
        }
    }
    return TRUE;
}

/* A thread that a driver made frees its object a moment after its routine ended: it is given that moment. */
static void FindBlocks(BLOCK_LIST *List, bool Unloaded)
{
    for (unsigned Try = 0;; Try++) {
        bool Threads = false;
        List->Count = List->Listed = 0;
        List->Bytes = 0;
        ExpEnumerateBlocks(KeepBlock, List);
        for (unsigned Index = 0; Index < List->Listed; Index++) {
            Threads = Threads || List->Blocks[Index].Tag == TAG_THREAD;
        }
        if (!Unloaded || !Threads || Try == 20) {
            return;
        }
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
}

static const char *PoolName(BOOLEAN Paged)
{
    return Paged ? "paged" : "nonpaged";
}

static void PrintTags(const TAG_TABLE *Used)
{
    char A[32], B[32], C[32], D[32], Tag[5];
    if (Used->Count == 0) {
        printf("\nPool: not used.\n");
        return;
    }
    printf("\n%-6s %-9s %13s %13s %15s %15s\n", "Tag", "Pool", "Allocations", "Frees", "Peak", "In use now");
    for (unsigned Index = 0; Index < Used->Count; Index++) {
        const EXP_TAG_USE *Use = &Used->Use[Index];
        printf("%-6s %-9s %13s %13s %15s %15s\n", CmdTag(Use->Tag, Tag), PoolName(Use->Paged), CmdCount(Use->Allocs, A),
               CmdCount(Use->Frees, B), CmdBytes((uint64_t)Use->PeakBytes, C),
               CmdBytes((uint64_t)(Use->Bytes > 0 ? Use->Bytes : 0), D));
    }
}

static void AddTags(const TAG_TABLE *Used, json_t *Root)
{
    json_t *Array = json_array();
    for (unsigned Index = 0; Index < Used->Count; Index++) {
        const EXP_TAG_USE *Use = &Used->Use[Index];
        char Tag[5];
        json_array_append_new(Array, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "tag", CmdTag(Use->Tag, Tag), "pool",
                                               PoolName(Use->Paged), "allocations", (json_int_t)Use->Allocs, "frees",
                                               (json_int_t)Use->Frees, "peak_bytes", (json_int_t)Use->PeakBytes, "bytes",
                                               (json_int_t)Use->Bytes));
    }
    json_object_set_new(Root, "tags", Array);
}

static bool SameOrigin(const EXP_BLOCK_INFO *One, const EXP_BLOCK_INFO *Two)
{
    return One->Tag == Two->Tag && One->Size == Two->Size && One->PoolType == Two->PoolType &&
           One->AllocFrames == Two->AllocFrames &&
           memcmp(One->AllocStack, Two->AllocStack, One->AllocFrames * sizeof(One->AllocStack[0])) == 0;
}

/* One entry for all blocks of one size that one stack allocated. */
static void ReportBlocks(const BLOCK_LIST *List, bool Json, json_t *Array)
{
    bool *Told = calloc(List->Listed + 1, 1);
    unsigned Shown = 0;
    for (unsigned Index = 0; Told != NULL && Index < List->Listed; Index++) {
        const EXP_BLOCK_INFO *Block = &List->Blocks[Index];
        char Tag[5], Size[32], Where[CMD_WHERE_MAX][512];
        unsigned Same = 1;
        if (Told[Index]) {
            continue;
        }
        for (unsigned Other = Index + 1; Other < List->Listed; Other++) {
            if (!Told[Other] && SameOrigin(Block, &List->Blocks[Other])) {
                Told[Other] = true;
                Same++;
            }
        }
        bool Text = !Json && Shown++ < MAX_SHOWN;
        BOOLEAN Paged = (Block->PoolType & 1) != 0;
        json_t *Stack = json_array();
        if (Text && Same == 1) {
            printf("  %s, tag '%s', %s pool, at 0x%llx\n", CmdBytes(Block->Size, Size), CmdTag(Block->Tag, Tag),
                   PoolName(Paged), Block->Start);
        } else if (Text) {
            printf("  %u blocks of %s, tag '%s', %s pool, the first at 0x%llx\n", Same, CmdBytes(Block->Size, Size),
                   CmdTag(Block->Tag, Tag), PoolName(Paged), Block->Start);
        }
        for (ULONG Frame = 0; Frame < Block->AllocFrames; Frame++) {
            unsigned Lines = CmdWhere(Block->AllocStack[Frame], Where); /* our own frames tell nobody anything */
            for (unsigned Line = 0; Line < Lines; Line++) {
                if (Text) {
                    printf("    %-12s %s\n", json_array_size(Stack) == 0 ? "allocated at" : "called from", Where[Line]);
                }
                json_array_append_new(Stack, json_string(Where[Line]));
            }
        }
        json_array_append_new(Array, json_pack("{s:s, s:s, s:I, s:i, s:o, s:o}", "tag", CmdTag(Block->Tag, Tag), "pool",
                                               PoolName(Paged), "bytes", (json_int_t)Block->Size, "blocks", (int)Same, "first",
                                               CmdHex(Block->Start), "allocated_at", Stack));
    }
    if (!Json && Shown > MAX_SHOWN) {
        printf("  ... and %u more places\n", Shown - MAX_SHOWN);
    }
    free(Told);
}

static void ReportFaults(const CMD_BASELINE *Baseline, bool Json, json_t *Root)
{
    const MM_COUNTERS *Before = &Baseline->Counters;
    MM_COUNTERS Now;
    MmQueryCounters(&Now);
    const struct {
        const char *Name, *Key;
        ULONG64 Count;
    } Kinds[] = {
        {"demand zero", "demand_zero", Now.DemandZeroFaults - Before->DemandZeroFaults},
        {"soft", "soft", Now.SoftFaults - Before->SoftFaults},
        {"hard", "hard", Now.HardFaults - Before->HardFaults},
        {"copy on write", "copy_on_write", Now.CopyOnWriteFaults - Before->CopyOnWriteFaults},
        {"guard page", "guard", Now.GuardFaults - Before->GuardFaults},
        {"access violation", "access_violations", Now.AccessViolations - Before->AccessViolations},
    };
    json_t *Faults = json_object();
    char Number[32];
    bool Any = false;
    if (!Json) {
        printf("Page faults:");
    }
    for (size_t Index = 0; Index < ARRAYSIZE(Kinds); Index++) {
        json_object_set_new(Faults, Kinds[Index].Key, json_integer((json_int_t)Kinds[Index].Count));
        if (!Json && Kinds[Index].Count != 0) {
            printf("%s %s %s", Any ? "," : "", CmdCount(Kinds[Index].Count, Number), Kinds[Index].Name);
            Any = true;
        }
    }
    if (!Json) {
        printf("%s\n", Any ? "." : " none.");
    }
    json_object_set_new(Root, "faults", Faults);
}

static void ReportPools(const CMD_BASELINE *Baseline, bool Json, json_t *Root)
{
    json_t *Pools = json_object();
    for (int Paged = 0; Paged < 2; Paged++) {
        EXP_POOL_TOTALS Now;
        char A[32], B[32], C[32];
        ExpQueryPool((BOOLEAN)Paged, &Now);
        ULONG64 Allocs = Now.Allocs - Baseline->Pools[Paged].Allocs, Frees = Now.Frees - Baseline->Pools[Paged].Frees;
        json_object_set_new(Pools, PoolName((BOOLEAN)Paged),
                            json_pack("{s:I, s:I, s:I, s:I}", "allocations", (json_int_t)Allocs, "frees", (json_int_t)Frees,
                                      "bytes", (json_int_t)(Now.Bytes - Baseline->Pools[Paged].Bytes), "peak_bytes",
                                      (json_int_t)Now.PeakBytes));
        if (!Json) {
            printf("%s pool: %s allocation%s, %s free%s, at most %s at a time.\n", Paged ? "Paged" : "Nonpaged",
                   CmdCount(Allocs, A), Allocs == 1 ? "" : "s", CmdCount(Frees, B), Frees == 1 ? "" : "s",
                   CmdBytes((uint64_t)Now.PeakBytes, C));
        }
    }
    json_object_set_new(Root, "pools", Pools);
}

unsigned CmdReportMemory(const CMD_BASELINE *Baseline, bool Unloaded, bool Stopped, bool Json, json_t *Root)
{
    TAG_TABLE *Used = calloc(1, sizeof(*Used));
    BLOCK_LIST List = {.Blocks = calloc(MAX_BLOCKS, sizeof(EXP_BLOCK_INFO))};
    json_t *Array = json_array();
    unsigned Findings = 0;
    if (Used == NULL || List.Blocks == NULL) {
        free(Used);
        free(List.Blocks);
        json_decref(Array);
        return 0;
    }
    TagDifference(Baseline, Used);
    if (!Json) {
        PrintTags(Used);
        putchar('\n');
    }
    AddTags(Used, Root);
    ReportPools(Baseline, Json, Root);
    ReportFaults(Baseline, Json, Root);
    CmdReportOverTime(Json, Root);
    CmdReportVerifier(Baseline->Pools, Json, Root);
    CmdReportPageFiles(Json, Root);
    FindBlocks(&List, Unloaded);
    if (List.Count != 0) {
        char Bytes[32];
        if (!Json) {
            printf("\n%s: %u block%s, %s%s\n",
                   Unloaded  ? "Not freed"
                   : Stopped ? "In use when it stopped"
                             : "In use",
                   List.Count, List.Count == 1 ? "" : "s", CmdBytes(List.Bytes, Bytes), Stopped ? "." : ":");
        }
        if (!Stopped || Json) {
            ReportBlocks(&List, Json, Array); /* in a stop's report they would only hide the stop */
        }
        Findings = Unloaded ? List.Count : 0;
    } else if (!Json && Unloaded && Used->Count != 0) {
        printf("Everything it allocated was freed.\n");
    }
    json_object_set_new(Root, Unloaded ? "not_freed" : "in_use", Array);
    json_object_set_new(Root, "not_freed_bytes", json_integer(Unloaded ? (json_int_t)List.Bytes : 0));
    free(Used);
    free(List.Blocks);
    return Findings;
}
