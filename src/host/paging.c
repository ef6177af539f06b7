/*
 * paging.c - page files from options; what became of them, and failures of their devices, for tests. SPDX-License-Identifier: MIT
 *
 * pagefile= names one to sixteen files, separated by ';'. Each is a path, and behind it, each after a ':', the size it has from
 * the beginning and the size it may grow to:
 *
 *     pagefile=/var/tmp/page.sys                        pagefile_size= and pagefile_max= say how large
 *     pagefile=/fast/page.sys:256M;/large/page.sys:1G:8G
 *
 * A file's own name has no ':' in it (a folder's may), so that a size that is misspelt is told and not taken for a part of the name.
 *
 * Page files are created new, have their size on the disk at once, and are unlinked while open unless they are to be kept: they
 * take their space where the path says, and go with the process however that ends. They are made after the memory manager and
 * before anything that pages, and closed by MmShutdownSystem.
 *
 * Watch it: tests/unit/paging_test.c, options_test.c, start_test.c.
 */
#include "paging.h"

#include <stdio.h>
#include <string.h>

#define MIB (1ull << 20)
#define TIB (1ull << 40)

static HOST_PAGE_FILE Files[MI_MAX_PAGE_FILES]; /* of the running system */

/* Takes ":SIZE" off the end of a path. FALSE: it does not end like that. */
static BOOLEAN TakeSize(char *Path, uint64_t *Bytes)
{
    char *Colon = strrchr(Path, ':');
    if (Colon == NULL || !HostParseNumber(Colon + 1, TRUE, Bytes))
        return FALSE;
    *Colon = 0;
    return TRUE;
}

static int ReadOne(const char *Text, size_t Length, HOST_PAGE_FILE *File)
{
    uint64_t Last, Before;
    memset(File, 0, sizeof *File);
    if (Length >= sizeof File->Path)
        return HostFail("option pagefile: a path is longer than %d bytes", NTMM_PATH_BYTES - 1);
    memcpy(File->Path, Text, Length);
    if (TakeSize(File->Path, &Last)) {
        File->Bytes = Last;
        if (TakeSize(File->Path, &Before)) {
            File->Bytes = Before;
            File->MaximumBytes = Last;
        }
        if (File->Bytes < MIB || File->Bytes > 16 * TIB || (File->MaximumBytes != 0 && File->MaximumBytes < File->Bytes) ||
            File->MaximumBytes > 16 * TIB)
            return HostFail("option pagefile: '%.*s': sizes are 1M to 16T, the second not below the first", (int)Length, Text);
    }
    const char *Name = strrchr(File->Path, '/') ? strrchr(File->Path, '/') : File->Path, *Colon = strchr(Name, ':');
    if (Colon != NULL)
        return HostFail("option pagefile: '%.*s': '%s' is no size; PATH[:SIZE[:MAXIMUM]], sizes like 256M or 1G", (int)Length,
                        Text, Colon + 1);
    return File->Path[0] ? 0 : HostFail("option pagefile: a path is missing in '%.*s'", (int)Length, Text);
}

int HostReadPageFiles(const char *Text, HOST_PAGE_FILE *List, unsigned *Count)
{
    *Count = 0;
    while (*Text) {
        size_t Length = strcspn(Text, ";");
        if (Length != 0) {
            if (*Count == MI_MAX_PAGE_FILES)
                return HostFail("option pagefile: more than %d page files", MI_MAX_PAGE_FILES);
            if (ReadOne(Text, Length, &List[*Count]) < 0)
                return -1;
            ++*Count;
        }
        Text += Length + (Text[Length] == ';');
    }
    return *Count != 0 ? 0 : HostFail("option pagefile: a path is missing (pagefile=PATH)");
}

int HostCheckPageFiles(ntmm_options *Options)
{
    unsigned Count;
    HOST_PAGE_FILE Some[MI_MAX_PAGE_FILES];
    if (!Options->pagefile[0]) {
        if (Options->pagefile_size)
            return HostFail("option pagefile_size needs pagefile=PATH");
        if (Options->pagefile_max)
            return HostFail("option pagefile_max needs pagefile=PATH");
        if (Options->compression)
            return HostFail("option compression needs pagefile=PATH: it is a store before the page file");
        return 0;
    }
    if (!Options->pagefile_size)
        Options->pagefile_size = 256 * MIB;
    if (Options->pagefile_max && Options->pagefile_max < Options->pagefile_size)
        return HostFail("pagefile_max=%lluM is less than pagefile_size=%lluM",
                        (unsigned long long)(Options->pagefile_max / MIB), (unsigned long long)(Options->pagefile_size / MIB));
    if (Options->io > NTMM_IO_THREADS)
        return HostFail("io=%u: auto, uring or threads (0 to 2)", Options->io);
    if (Options->compression == 1) {
        Options->compression = Options->ram / 8 > MIB ? Options->ram / 8 : MIB;
    }
    if (Options->compression && (Options->compression < MIB || Options->compression > Options->ram / 2))
        return HostFail("compression=%lluK: 1M to half of RAM", (unsigned long long)(Options->compression >> 10));
    return HostReadPageFiles(Options->pagefile, Some, &Count);
}

/* Why a page file could not be made. */
static VOID Explain(const HOST_PAGE_FILE *File, NTSTATUS Status, const ntmm_options *Options)
{
    unsigned long long Megabytes = (unsigned long long)(File->Bytes / MIB);
    switch (Status) {
    case STATUS_OBJECT_NAME_COLLISION:
        HostFail("pagefile=%s: the path is taken; a page file is always created new", File->Path);
        break;
    case STATUS_OBJECT_PATH_NOT_FOUND:
        HostFail("pagefile=%s: cannot create the page file: No such file or directory", File->Path);
        break;
    case STATUS_ACCESS_DENIED:
        HostFail("pagefile=%s: cannot create the page file: Permission denied", File->Path);
        break;
    case STATUS_OBJECT_NAME_INVALID:
        HostFail("pagefile=%s: that is no name for a page file", File->Path);
        break;
    case STATUS_DISK_FULL:
        HostFail("pagefile=%s: the host has no %llu MiB of space for it there", File->Path, Megabytes);
        break;
    case STATUS_NOT_SUPPORTED:
        HostFail("io=%s: the host does not allow it; io=threads always works",
                 Options->io == NTMM_IO_URING ? "uring" : "threads");
        break;
    case STATUS_INSUFFICIENT_RESOURCES:
        HostFail("pagefile=%s: ram=%lluM has no room for the tables of page files as large as that", File->Path,
                 (unsigned long long)(Options->ram / MIB));
        break;
    default:
        HostFail("pagefile=%s: cannot create the page file: status 0x%08X", File->Path, (unsigned)Status);
        break;
    }
}

NTSTATUS HostCreatePageFiles(const ntmm_options *Options)
{
    unsigned Count = 0;
    NTSTATUS Status = STATUS_SUCCESS;
    memset(Files, 0, sizeof Files);
    if (!Options->pagefile[0])
        return STATUS_SUCCESS;
    if (HostReadPageFiles(Options->pagefile, Files, &Count) < 0)
        return STATUS_INVALID_PARAMETER;
    if (Options->compression) {
        Status = MmEnablePageCompression(Options->compression);
        if (!NT_SUCCESS(Status)) {
            HostFail("compression=%lluK: ram=%lluM has no room for it", (unsigned long long)(Options->compression >> 10),
                     (unsigned long long)(Options->ram / MIB));
            return Status;
        }
    }
    for (unsigned I = 0; I < Count && NT_SUCCESS(Status); I++) {
        ULONG Number;
        HOST_PAGE_FILE *File = &Files[I];
        if (File->Bytes == 0) {
            File->Bytes = Options->pagefile_size;
            File->MaximumBytes = Options->pagefile_max;
        }
        MM_PAGE_FILE_OPTIONS Wanted = {.Path = File->Path,
                                       .InitialBytes = File->Bytes,
                                       .MaximumBytes = File->MaximumBytes,
                                       .Keep = Options->pagefile_keep,
                                       .Checked = Options->pagefile_check};
        Status = MmCreatePageFile(&Wanted, &Number);
        if (!NT_SUCCESS(Status))
            Explain(File, Status, Options);
    }
    return Status;
}

/* ---- asked about ---- */
bool ntmm_query_page_file(unsigned number, ntmm_page_file *out)
{
    MM_PAGE_FILE_INFO Info = {0};
    memset(out, 0, sizeof *out);
    if (!ntmm_running() || number >= MI_MAX_PAGE_FILES)
        return false;
    MmQueryPageFile(number, &Info);
    if (!Info.InUse)
        return false;
    snprintf(out->path, sizeof out->path, "%s", Files[number].Path);
    out->direct = Info.Direct;
    out->checked = Info.Checked;
    out->bytes = (Info.Pages + 1) << PAGE_SHIFT;
    out->maximum_bytes = (Info.MaximumPages + 1) << PAGE_SHIFT;
    out->used_bytes = Info.UsedPages << PAGE_SHIFT;
    out->peak_bytes = Info.PeakPages << PAGE_SHIFT;
    out->reads = Info.Reads;
    out->writes = Info.Writes;
    out->bytes_read = Info.PagesRead << PAGE_SHIFT;
    out->bytes_written = Info.PagesWritten << PAGE_SHIFT;
    out->read_errors = Info.ReadErrors;
    out->write_errors = Info.WriteErrors;
    out->corrupt_pages = Info.CorruptPages;
    out->retries = Info.Retries;
    return true;
}

bool ntmm_query_page_store(ntmm_page_store *out)
{
    MM_STORE_INFO Info = {0};
    memset(out, 0, sizeof *out);
    if (ntmm_running())
        MmQueryPageStore(&Info);
    out->limit_bytes = Info.Limit;
    out->resident_bytes = Info.Resident;
    out->pages = Info.StoredPages;
    out->compressed_bytes = Info.StoredBytes;
    out->in = Info.In;
    out->out = Info.Out;
    out->refused = Info.Refused;
    out->evicted = Info.Evicted;
    out->failed = Info.Failed;
    return Info.Limit != 0;
}

const char *ntmm_io_engine(void)
{
    ULONG Engine = ntmm_running() ? HalFacts.IoEngine : HAL_IO_ENGINE_AUTO;
    return Engine == HAL_IO_ENGINE_QUEUE ? "io_uring" : Engine == HAL_IO_ENGINE_THREADS ? "threads" : "none";
}

/* ---- failures ---- */
C_ASSERT((int)NTMM_DISK_READ_ERROR == (int)HalIoReadError && (int)NTMM_DISK_WRITE_ERROR == (int)HalIoWriteError &&
         (int)NTMM_DISK_SHORT_READ == (int)HalIoShortRead && (int)NTMM_DISK_NO_SPACE == (int)HalIoNoSpace &&
         (int)NTMM_DISK_DELAY == (int)HalIoDelay && (int)NTMM_DISK_TORN_WRITE == (int)HalIoTornWrite &&
         (int)NTMM_DISK_CORRUPT_READ == (int)HalIoCorrupt);
C_ASSERT((int)NTMM_IO_URING == (int)HAL_IO_ENGINE_QUEUE && (int)NTMM_IO_THREADS == (int)HAL_IO_ENGINE_THREADS);

int ntmm_inject_disk_fault(ntmm_disk_fault kind, int page_file, uint64_t after, uint64_t count, uint64_t value)
{
    HAL_IO_FAULT Fault = {.Kind = (HAL_IO_FAULT_KIND)kind, .After = after, .Count = count, .Value = value};
    if (!ntmm_running() || HalFacts.IoEngine == HAL_IO_ENGINE_AUTO)
        return HostFail("there is no page file");
    if (page_file >= 0) {
        Fault.Device = MmPageFileDevice((ULONG)page_file);
        if (Fault.Device == NULL)
            return HostFail("there is no page file %d", page_file);
    }
    if (!NT_SUCCESS(HalInjectIoFault(&Fault)))
        return HostFail("no such fault, or sixteen rules are set already");
    return 0;
}

void ntmm_clear_disk_faults(void)
{
    (VOID) HalInjectIoFault(NULL);
}

uint64_t ntmm_disk_fault_hits(void)
{
    return HalQueryIoFaults();
}
