/*
 * memory.c - memory as the debugger shows it (!vm, !memusage), and over time, for `ntmm map --memory` and `ntmm run`.
 * SPDX-License-Identifier: MIT
 *
 * The names, their order and the form "name: pages ( kb Kb)" are those of the debugger's !vm and !memusage. Lines that speak of what
 * this system does not have (shared commitment of sections apart, SLIST pages, dangling pages) are left out.
 *
 * JSON, under "memory" (pages of 4,096 bytes; counts since the system was started):
 *   "pages"     total zeroed free standby modified modified_no_write bad transition active; standby_by_priority: 8 numbers;
 *               available locked nonpageable tables system_working_set process_working_sets
 *   "nodes"     one object a NUMA node: first (frame number) pages zeroed free standby modified active bad, hits (frames wanted from
 *               it that it gave) misses (that another gave; both 0 with one node)
 *   "commit"    pages limit peak maximum failures
 *   "pools"     nonpaged, paged: {pages peak_pages}
 *   "faults"    all demand_zero soft hard copy_on_write guard access_violations collided in_page_errors
 *   "paging"    pages_read page_reads pages_written page_writes write_errors trimmed aged repurposed zeroed_by_thread waits
 *   "irql"      checked_raises trims trimmed_pages (forced IRQL checking)
 *   "conditions" names of the memory events that are set
 *   "series"    "interval_ns"; "fields": names of the columns; "samples": one array of numbers for each sample, oldest first; the
 *               first column is ns since the run began, the faults and pages in and out count from the start of the system
 */
#include "cmd.h"
#include "mm/mm.h"

#define ROWS 12 /* of the series, as text */

/* "Available Pages:       600000 (    2400000 Kb)": the number ends in column 29. */
static void Line(const char *Name, uint64_t Pages)
{
    printf("%s%*llu (%11llu Kb)\n", Name, (int)(29 - strlen(Name)), (unsigned long long)Pages, (unsigned long long)Pages * 4);
}

static uint64_t InUse(MM_REGION Region, uint64_t *Limit)
{
    MM_REGION_INFO Info;
    MmQueryRegion(Region, &Info);
    *Limit = Info.PageLimit;
    return Info.PagesInUse;
}

static void PrintVm(const ntmm_memory *Memory)
{
    ntmm_page_file *File = malloc(sizeof *File);
    uint64_t Ptes, NonPagedMax, PagedMax, Limit;
    uint64_t PtesUsed = InUse(MmRegionSystemPtes, &Ptes);
    InUse(MmRegionNonPagedPool, &NonPagedMax);
    InUse(MmRegionPagedPool, &PagedMax);
    Line("Physical Memory:", Memory->ram_pages);
    for (unsigned Number = 0; File != NULL && Number < 16; Number++) {
        if (ntmm_query_page_file(Number, File)) {
            printf("  Paging File Name: %s\n", File->path);
            printf("    Current: %11llu Kb  Free Space: %11llu Kb\n", (unsigned long long)File->bytes >> 10,
                   (unsigned long long)(File->bytes - File->used_bytes) >> 10);
            printf("    Minimum: %11llu Kb  Maximum:    %11llu Kb\n", (unsigned long long)File->bytes >> 10,
                   (unsigned long long)File->maximum_bytes >> 10);
        }
    }
    free(File);
    Line("Available Pages:", Memory->available_pages);
    Line("ResAvail Pages:", Memory->ram_pages - Memory->nonpageable_pages - Memory->locked_pages);
    Line("Locked IO Pages:", Memory->locked_pages);
    Line("Free System PTEs:", Ptes - PtesUsed);
    Line("Modified Pages:", Memory->modified_pages + Memory->modified_no_write_pages);
    Line("Modified PF Pages:", Memory->modified_pages);
    Line("NonPagedPool Usage:", Memory->nonpaged_pool_pages);
    Line("NonPagedPool Max:", NonPagedMax);
    Line("PagedPool Usage:", Memory->paged_pool_pages);
    Line("PagedPool Maximum:", PagedMax);
    Line("Kernel Stacks:", InUse(MmRegionKernelStacks, &Limit));
    Line("Special Pool:", InUse(MmRegionSpecialPool, &Limit));
    Line("Driver Commit:", InUse(MmRegionDriverImages, &Limit));
    Line("Committed pages:", Memory->committed_pages);
    Line("Commit limit:", Memory->commit_limit_pages);
    Line("Commit peak:", Memory->commit_peak_pages);
}

static void Usage(const char *Name, uint64_t Pages)
{
    printf("%18s: %8llu (%9llu kb)\n", Name, (unsigned long long)Pages, (unsigned long long)Pages * 4);
}

static void PrintMemUsage(const ntmm_memory *Memory)
{
    Usage("Zeroed", Memory->zeroed_pages);
    Usage("Free", Memory->free_pages);
    Usage("Standby", Memory->standby_pages);
    Usage("Modified", Memory->modified_pages);
    Usage("ModifiedNoWrite", Memory->modified_no_write_pages);
    Usage("Active/Valid", Memory->active_pages);
    Usage("Transition", Memory->transition_pages);
    Usage("Bad", Memory->bad_pages);
    Usage("TOTAL", Memory->ram_pages);
    printf("\n  Standby by priority:");
    for (unsigned Priority = 0; Priority < 8; Priority++) {
        printf(" %u: %llu%s", Priority, (unsigned long long)Memory->standby_by_priority[Priority], Priority < 7 ? "," : "\n");
    }
    Usage("System WS", Memory->system_working_set_pages);
    Usage("Process WS", Memory->process_working_set_pages);
    Usage("Nonpageable", Memory->nonpageable_pages);
    Usage("Page tables", Memory->table_pages);
}

static void PrintNodes(void)
{
    MM_NODE_INFO Node;
    if (KeQueryHighestNodeNumber() == 0) {
        return;
    }
    printf("\n%6s %10s %8s %8s %8s %8s %8s %8s %8s %10s %10s\n", "Node", "first", "pages", "zeroed", "free", "standby",
           "modified", "active", "bad", "hits", "misses");
    for (ULONG Number = 0; MmQueryNode(Number, &Node); Number++) {
        printf("%6u %#10llx %8llu %8llu %8llu %8llu %8llu %8llu %8llu %10llu %10llu\n", Number, (unsigned long long)Node.First,
               (unsigned long long)Node.Pages, (unsigned long long)Node.Zeroed, (unsigned long long)Node.Free,
               (unsigned long long)Node.Standby, (unsigned long long)Node.Modified, (unsigned long long)Node.Active,
               (unsigned long long)Node.Bad, (unsigned long long)Node.Hits, (unsigned long long)Node.Misses);
    }
}

static void PrintCounts(const ntmm_memory *Memory)
{
    char A[32], B[32], C[32], D[32];
    bool Any = false;
    printf("Page faults: %s demand zero, %s soft, %s hard, %s of other kinds.\n", CmdCount(Memory->demand_zero_faults, A),
           CmdCount(Memory->soft_faults, B), CmdCount(Memory->hard_faults, C),
           CmdCount(Memory->copy_on_write_faults + Memory->guard_faults + Memory->access_violations, D));
    printf("Pages in: %s in %s reads. Pages out: %s in %s writes.\n", CmdCount(Memory->pages_read, A),
           CmdCount(Memory->page_reads, B), CmdCount(Memory->pages_written, C), CmdCount(Memory->page_writes, D));
    printf("Memory events set:");
    for (unsigned Bit = 0; ntmm_memory_condition(Bit) != NULL; Bit++) {
        if (Memory->conditions >> Bit & 1) {
            printf("%s %s", Any ? "," : "", ntmm_memory_condition(Bit));
            Any = true;
        }
    }
    printf("%s\n", Any ? "" : " none");
}

#define I(Value) ((json_int_t)(Value))

static json_t *MemoryJson(const ntmm_memory *Memory)
{
    json_t *Priorities = json_array(), *Conditions = json_array();
    for (unsigned Priority = 0; Priority < 8; Priority++) {
        json_array_append_new(Priorities, json_integer(I(Memory->standby_by_priority[Priority])));
    }
    for (unsigned Bit = 0; ntmm_memory_condition(Bit) != NULL; Bit++) {
        if (Memory->conditions >> Bit & 1) {
            json_array_append_new(Conditions, json_string(ntmm_memory_condition(Bit)));
        }
    }
    json_t *Root = json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I}}", "pages",
                             "total", I(Memory->ram_pages), "zeroed", I(Memory->zeroed_pages), "free", I(Memory->free_pages),
                             "standby", I(Memory->standby_pages), "modified", I(Memory->modified_pages), "modified_no_write",
                             I(Memory->modified_no_write_pages), "bad", I(Memory->bad_pages), "transition",
                             I(Memory->transition_pages), "active", I(Memory->active_pages), "standby_by_priority", Priorities,
                             "available", I(Memory->available_pages), "locked", I(Memory->locked_pages), "nonpageable",
                             I(Memory->nonpageable_pages), "tables", I(Memory->table_pages), "system_working_set",
                             I(Memory->system_working_set_pages), "process_working_sets", I(Memory->process_working_set_pages));
    json_t *Nodes = json_array();
    MM_NODE_INFO Node;
    for (ULONG Number = 0; MmQueryNode(Number, &Node); Number++) {
        json_array_append_new(Nodes,
                              json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "first", I(Node.First), "pages",
                                        I(Node.Pages), "zeroed", I(Node.Zeroed), "free", I(Node.Free), "standby",
                                        I(Node.Standby), "modified", I(Node.Modified), "active", I(Node.Active), "bad",
                                        I(Node.Bad), "hits", I(Node.Hits), "misses", I(Node.Misses)));
    }
    json_object_set_new(Root, "nodes", Nodes);
    json_object_set_new(Root, "commit",
                        json_pack("{s:I, s:I, s:I, s:I, s:I}", "pages", I(Memory->committed_pages), "limit",
                                  I(Memory->commit_limit_pages), "peak", I(Memory->commit_peak_pages), "maximum",
                                  I(Memory->commit_maximum_pages), "failures", I(Memory->commit_failures)));
    json_object_set_new(Root, "pools",
                        json_pack("{s:{s:I, s:I}, s:{s:I, s:I}}", "nonpaged", "pages", I(Memory->nonpaged_pool_pages),
                                  "peak_pages", I(Memory->nonpaged_pool_peak_pages), "paged", "pages",
                                  I(Memory->paged_pool_pages), "peak_pages", I(Memory->paged_pool_peak_pages)));
    json_object_set_new(Root, "faults",
                        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "all", I(Memory->faults), "demand_zero",
                                  I(Memory->demand_zero_faults), "soft", I(Memory->soft_faults), "hard", I(Memory->hard_faults),
                                  "copy_on_write", I(Memory->copy_on_write_faults), "guard", I(Memory->guard_faults),
                                  "access_violations", I(Memory->access_violations), "collided", I(Memory->collided_faults),
                                  "in_page_errors", I(Memory->in_page_errors)));
    json_object_set_new(Root, "paging",
                        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "pages_read", I(Memory->pages_read),
                                  "page_reads", I(Memory->page_reads), "pages_written", I(Memory->pages_written), "page_writes",
                                  I(Memory->page_writes), "write_errors", I(Memory->write_errors), "trimmed",
                                  I(Memory->trimmed_pages), "aged", I(Memory->aged_pages), "repurposed",
                                  I(Memory->repurposed_pages), "zeroed_by_thread", I(Memory->zeroed_by_thread), "waits",
                                  I(Memory->waits_for_pages)));
    json_object_set_new(Root, "irql",
                        json_pack("{s:I, s:I, s:I}", "checked_raises", I(Memory->checked_raises), "trims",
                                  I(Memory->irql_trims), "trimmed_pages", I(Memory->irql_trimmed_pages)));
    json_object_set_new(Root, "conditions", Conditions);
    return Root;
}

/* ---- over time ---- */
static const char *const Fields[] = {
    "nanoseconds", "zeroed",    "free",       "standby", "modified",    "active", "committed", "commit_limit", "nonpaged_pool",
    "paged_pool",  "system_ws", "process_ws", "locked",  "demand_zero", "soft",   "hard",      "pages_read",   "pages_written"};
C_ASSERT(sizeof(Fields) / sizeof(*Fields) == sizeof(ntmm_memory_sample) / sizeof(uint64_t));

static json_t *SeriesJson(const ntmm_memory_sample *Samples, size_t Count, uint64_t Interval)
{
    json_t *Names = json_array(), *Rows = json_array();
    for (size_t Field = 0; Field < ARRAYSIZE(Fields); Field++) {
        json_array_append_new(Names, json_string(Fields[Field]));
    }
    for (size_t Index = 0; Index < Count; Index++) {
        json_t *Row = json_array();
        uint64_t Values[ARRAYSIZE(Fields)];
        memcpy(Values, &Samples[Index], sizeof Values);
        for (size_t Field = 0; Field < ARRAYSIZE(Fields); Field++) {
            json_array_append_new(Row, json_integer(I(Values[Field])));
        }
        json_array_append_new(Rows, Row);
    }
    return json_pack("{s:I, s:o, s:o}", "interval_ns", I(Interval), "fields", Names, "samples", Rows);
}

static void PrintSeries(const ntmm_memory_sample *Samples, size_t Count)
{
    size_t Step = (Count + ROWS - 1) / ROWS;
    printf("\n%8s %10s %9s %9s %10s %10s %10s %10s %9s %9s\n", "ms", "available", "standby", "modified", "working", "committed",
           "zero fault", "soft", "read", "written");
    for (size_t Index = 0; Index < Count; Index += Index + Step < Count || Index == Count - 1 ? Step : Count - 1 - Index) {
        const ntmm_memory_sample *S = &Samples[Index];
        printf("%8llu %10llu %9llu %9llu %10llu %10llu %10llu %10llu %9llu %9llu\n",
               (unsigned long long)(S->nanoseconds / 1000000),
               (unsigned long long)S->zeroed_pages + S->free_pages + S->standby_pages, (unsigned long long)S->standby_pages,
               (unsigned long long)S->modified_pages,
               (unsigned long long)S->system_working_set_pages + S->process_working_set_pages,
               (unsigned long long)S->committed_pages, (unsigned long long)S->demand_zero_faults,
               (unsigned long long)S->soft_faults, (unsigned long long)S->pages_read, (unsigned long long)S->pages_written);
    }
}

/* One more sample than are kept: the moment of the report. */
static size_t TakeSeries(ntmm_memory_sample **Samples, uint64_t *Interval)
{
    *Samples = calloc(NTMM_MEMORY_SAMPLES + 1, sizeof **Samples);
    if (*Samples == NULL) {
        return 0;
    }
    size_t Count = ntmm_memory_samples(*Samples, NTMM_MEMORY_SAMPLES, Interval);
    MmTakeSample((MM_SAMPLE *)&(*Samples)[Count]);
    return Count + 1;
}

void CmdReportOverTime(bool Json, json_t *Root)
{
    ntmm_memory Memory;
    ntmm_memory_sample *Samples;
    uint64_t Interval = 0;
    char A[32], B[32], C[32], D[32];
    if (ntmm_query_memory(&Memory) != 0) {
        return;
    }
    size_t Count = TakeSeries(&Samples, &Interval);
    json_t *Object = MemoryJson(&Memory);
    json_object_set_new(Object, "series", SeriesJson(Samples, Count, Interval));
    json_object_set_new(Root, "memory", Object);
    if (!Json) {
        printf("Memory: at most %s promised of %s; %s in and %s out of page files.\n",
               CmdBytes(Memory.commit_peak_pages * 4096, A), CmdBytes(Memory.commit_limit_pages * 4096, B),
               CmdBytes(Memory.pages_read * 4096, C), CmdBytes(Memory.pages_written * 4096, D));
        if (Memory.checked_raises != 0) {
            printf("Forced IRQL checking: %s raise%s, %s of them took %s page%s away.\n", CmdCount(Memory.checked_raises, A),
                   Memory.checked_raises == 1 ? "" : "s", CmdCount(Memory.irql_trims, B),
                   CmdCount(Memory.irql_trimmed_pages, C), Memory.irql_trimmed_pages == 1 ? "" : "s");
        }
        if (Memory.trimmed_pages + Memory.pages_written + Memory.hard_faults != 0) { /* else the columns say nothing */
            PrintSeries(Samples, Count);
        }
    }
    free(Samples);
}

void CmdShowMemory(bool Json, json_t *Root)
{
    ntmm_memory Memory;
    if (ntmm_query_memory(&Memory) != 0) {
        return;
    }
    if (Json) {
        json_object_set_new(Root, "memory", MemoryJson(&Memory));
        return;
    }
    PrintVm(&Memory);
    putchar('\n');
    PrintMemUsage(&Memory);
    PrintNodes();
    putchar('\n');
    PrintCounts(&Memory);
}

/* ---- the demonstration: paged pool of twice what RAM has room for (or what may be promised), written, read again, partly freed --- */
#define TAG   'omeD'
#define BLOCK (64u << 10)

void CmdDemonstrate(bool Json, json_t *Root)
{
    ntmm_memory Memory;
    ntmm_memory_sample *Samples;
    uint64_t Interval = 0;
    if (ntmm_query_memory(&Memory) != 0) {
        return;
    }
    uint64_t Most = (Memory.commit_limit_pages - Memory.committed_pages) / 10 * 9, Want = Memory.available_pages * 2;
    uint64_t Count = (Want < Most ? Want : Most) * 4096 / BLOCK;
    PVOID *Blocks = calloc(Count + 1, sizeof(PVOID));
    uint64_t Got = 0;
    ntmm_sample_memory(1);
    for (; Blocks != NULL && Got < Count; Got++) {
        Blocks[Got] = ExAllocatePoolWithTag(PagedPool, BLOCK, TAG);
        if (Blocks[Got] == NULL) {
            break;
        }
        memset(Blocks[Got], (int)Got, BLOCK);
    }
    uint64_t Sum = 0;
    for (uint64_t Block = 0; Block < Got; Block += 4) {
        Sum += ((volatile uint8_t *)Blocks[Block])[4096];
    }
    for (uint64_t Block = 1; Block < Got; Block += 4) {
        ExFreePoolWithTag(Blocks[Block], TAG);
        Blocks[Block] = NULL;
    }
    CmdShowMemory(Json, Root);
    size_t Taken = TakeSeries(&Samples, &Interval);
    if (Json) {
        json_object_set_new(json_object_get(Root, "memory"), "series", SeriesJson(Samples, Taken, Interval));
    } else {
        printf("\nA demonstration: %llu MiB of paged pool written, a quarter of it read again, a quarter freed.\n",
               (unsigned long long)(Got * BLOCK >> 20));
        PrintSeries(Samples, Taken);
    }
    free(Samples);
    ntmm_sample_memory(0);
    for (uint64_t Block = 0; Block < Got; Block++) {
        if (Blocks[Block] != NULL) {
            ExFreePoolWithTag(Blocks[Block], TAG);
        }
    }
    free(Blocks);
    (void)Sum;
}
