/*
 * section_stress_test.c - threads over sections of four times RAM in several processes: views mapped, written, copied on write, trimmed,
 * locked, flushed and unmapped at random, every byte checked, validators on. SPDX-License-Identifier: MIT
 *
 * Page-file-backed sections and one of a file are together four times RAM. Each page has one owner among the threads, who alone
 * writes and checks it, through whichever view of whichever process: every eight bytes of it are a function of section, page and
 * generation. The pages of all owners lie beside each other, so faults, clusters, trims and flushes of all threads meet in the same prototype
 * frames. An image is mapped, too: read through one view, copied on write in another. In the end the file must be what its section was.
 *
 *   NTMM_STRESS_SECONDS   how long (default 2)      NTMM_STRESS_RAM   MiB of RAM (default 16)
 *   NTMM_STRESS_DATA      MiB of page-file-backed sections (default four times RAM, less the file)      NTMM_STRESS_SEED
 */
#include "section_kit.h"
#include "pe_builder.h"
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define THREADS      4u
#define PROCESSES    3u
#define SECTIONS     8u /* the last is the file's */
#define FILE_SECTION (SECTIONS - 1)

typedef struct _WORKER {
    pthread_t Thread;
    ULONG Number;
    ULONG64 Random, Steps, Errors;
    PUCHAR Views[PROCESSES][SECTIONS];
    const char *What;
} WORKER;

static char Folder[] = "/tmp/ntmm-sstressXXXXXX";
static WORKER Workers[THREADS];
static KPROCESS *Processes[PROCESSES];
static HANDLE ProcessHandles[PROCESSES], Sections[SECTIONS], Image;
static ULONG SectionPages[SECTIONS];
static ULONG *Generations[SECTIONS]; /* 0: as it was made */
static UCHAR ImageBytes[PB_FILE_SIZE];
static ULONG64 Ram, Deadline;
static volatile LONG Over;
static const CHAR *volatile Broken;
static volatile ULONG64 Validations;

static ULONG64 Next(WORKER *Me)
{
    Me->Random ^= Me->Random << 13;
    Me->Random ^= Me->Random >> 7;
    Me->Random ^= Me->Random << 17;
    return Me->Random >> 11;
}
static ULONG64 Word(ULONG Section, ULONG Page, ULONG Generation, ULONG Index)
{
    return ((ULONG64)Section << 56 | (ULONG64)Page << 28 | Generation) * 0x9E3779B97F4A7C15ull + Index;
}
static BOOLEAN IsRight(const volatile UCHAR *Va, ULONG Section, ULONG Page)
{
    ULONG Generation = Generations[Section][Page];
    for (ULONG i = 0; i < 512; i++) {
        ULONG64 Found = ((const volatile ULONG64 *)Va)[i], Expected = Word(Section, Page, Generation, i);
        if (Generation == 0) {
            Expected = 0;
            for (ULONG b = 0; Section == FILE_SECTION && b < 8; b++) {
                Expected |= (ULONG64)SkByte((ULONG64)Page * PAGE_SIZE + i * 8 + b) << (8 * b);
            }
        }
        if (Found != Expected) {
            return FALSE;
        }
    }
    return TRUE;
}
static void Write(volatile UCHAR *Va, ULONG Section, ULONG Page)
{
    ULONG Generation = ++Generations[Section][Page];
    for (ULONG i = 0; i < 512; i++) {
        ((volatile ULONG64 *)Va)[i] = Word(Section, Page, Generation, i);
    }
}
static void Wrong(WORKER *Me, const char *What)
{
    Me->Errors++;
    Me->What = Me->What ? Me->What : What;
}

/* Some own pages that follow one another at a distance of THREADS. The process is attached. */
static void Visit(WORKER *Me, PUCHAR View, ULONG Section)
{
    ULONG Page = (ULONG)(Next(Me) % SectionPages[Section]) / THREADS * THREADS + Me->Number;
    ULONG Count = 1 + (ULONG)Next(Me) % 12, Writes = Next(Me) % 2;
    for (; Count && Page < SectionPages[Section]; Count--, Page += THREADS) {
        if (!IsRight(View + (SIZE_T)Page * PAGE_SIZE, Section, Page)) {
            Wrong(Me, "a page has other bytes than it was given");
        }
        if (Writes) {
            Write(View + (SIZE_T)Page * PAGE_SIZE, Section, Page);
        }
    }
}

/* Locked, a page does not move, and what is written to its frame is the section's. */
static void Lock(WORKER *Me, PUCHAR View, ULONG Section)
{
    KIT_MDL Mdl;
    ULONG Page = (ULONG)(Next(Me) % SectionPages[Section]) / THREADS * THREADS + Me->Number;
    if (Page >= SectionPages[Section]) {
        return;
    }
    MmInitializeMdl(&Mdl.Mdl, View + (SIZE_T)Page * PAGE_SIZE, PAGE_SIZE);
    if (KitLock(&Mdl.Mdl, UserMode, IoModifyAccess) != STATUS_SUCCESS) {
        return; /* so much is locked already */
    }
    (VOID) MiEmptyWorkingSet(&PsGetCurrentProcess()->Space->WorkingSet);
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(&Mdl.Mdl, NormalPagePriority);
    if (Mapped) {
        if (!IsRight(Mapped, Section, Page)) {
            Wrong(Me, "a locked page has other bytes");
        }
        Write(Mapped, Section, Page);
    }
    if (!IsRight(View + (SIZE_T)Page * PAGE_SIZE, Section, Page)) {
        Wrong(Me, "what was written to a locked frame is not in the view");
    }
    MmUnlockPages(&Mdl.Mdl);
}

static void MapOrUnmap(WORKER *Me, ULONG Process, ULONG Section)
{
    PVOID Base = Me->Views[Process][Section];
    if (Base) {
        if (ZwUnmapViewOfSection(ProcessHandles[Process], Base) != STATUS_SUCCESS) {
            Wrong(Me, "a view could not be unmapped");
        }
        Me->Views[Process][Section] = NULL;
        return;
    }
    SIZE_T Size = 0;
    if (ZwMapViewOfSection(Sections[Section], ProcessHandles[Process], &Base, 0, 0, NULL, &Size, ViewUnmap, 0,
                           PAGE_READWRITE) == STATUS_SUCCESS) {
        Me->Views[Process][Section] = Base;
    }
}

static void VisitImage(WORKER *Me, ULONG Process)
{
    PVOID Base = NULL;
    SIZE_T Size = 0;
    if (!NT_SUCCESS(
            ZwMapViewOfSection(Image, ProcessHandles[Process], &Base, 0, 0, NULL, &Size, ViewUnmap, 0, PAGE_EXECUTE_READ))) {
        return;
    }
    INSIDE(Processes[Process])
    {
        volatile UCHAR *At = Base;
        /* with its two addresses where it lies */
        if (memcmp((void *)(At + 0x2000), ImageBytes + PB_RDATA, 0x458) ||
            *(volatile ULONG64 *)(At + 0x2458) != (ULONG_PTR)At + 0x3000 ||
            memcmp((void *)(At + 0x2460), ImageBytes + PB_RDATA + 0x460, 0x1A0) ||
            *(volatile ULONG64 *)(At + 0x3010) != (ULONG_PTR)At + 0x3020 || At[0x3000] != ImageBytes[PB_DATA]) {
            Wrong(Me, "an image shows other bytes than its file has");
        }
        At[0x3000] = 0x99;
        (VOID) MiEmptyWorkingSet(&Processes[Process]->Space->WorkingSet);
        if (At[0x3000] != 0x99) {
            Wrong(Me, "a copy on write was lost");
        }
    }
    ZwUnmapViewOfSection(ProcessHandles[Process], Base);
}

static void Step(WORKER *Me)
{
    ULONG Process = (ULONG)Next(Me) % PROCESSES, Section = (ULONG)Next(Me) % SECTIONS, What = (ULONG)Next(Me) % 128;
    PUCHAR View = Me->Views[Process][Section];
    if (View == NULL || What < 6) {
        MapOrUnmap(Me, Process, Section);
    } else if (What < 110) {
        INSIDE(Processes[Process])
        {
            Visit(Me, View, Section);
        }
    } else if (What < 116) {
        INSIDE(Processes[Process])
        {
            Lock(Me, View, Section);
        }
    } else if (What < 119) {
        (VOID) MiEmptyWorkingSet(&Processes[Process]->Space->WorkingSet);
    } else if (What == 119) {
        MmEmptyAllWorkingSets(Next(Me) % 8 == 0);
    } else if (What < 123) {
        VisitImage(Me, Process);
    } else if (Section == FILE_SECTION) {
        PVOID Base = View;
        SIZE_T Size = (Next(Me) % 64) * PAGE_SIZE;
        IO_STATUS_BLOCK Iosb;
        if (ZwFlushVirtualMemory(ProcessHandles[Process], &Base, &Size, &Iosb) != STATUS_SUCCESS) {
            Wrong(Me, "a flush failed");
        }
    }
    Me->Steps++;
}

static void *Work(void *Argument)
{
    WORKER *Me = Argument;
    while (!__atomic_load_n(&Over, __ATOMIC_ACQUIRE) && KitMilliseconds() < Deadline && Me->Errors == 0) {
        Step(Me);
    }
    for (ULONG Process = 0; Process < PROCESSES; Process++) {
        for (ULONG Section = 0; Section < SECTIONS; Section++) {
            if (Me->Views[Process][Section]) {
                MapOrUnmap(Me, Process, Section);
            }
        }
    }
    return NULL;
}

static void *Watch(void *Argument)
{
    (void)Argument;
    while (!__atomic_load_n(&Over, __ATOMIC_ACQUIRE)) {
        const CHAR *Found = MiValidateAll();
        Validations++;
        if (Found) {
            Broken = Found;
            __atomic_store_n(&Over, 1, __ATOMIC_RELEASE);
        }
        usleep(20000);
    }
    return NULL;
}

static void EveryPageIsRight(void)
{
    for (ULONG Section = 0; Section < SECTIONS; Section++) {
        PUCHAR View = SkMap(Sections[Section], ProcessHandles[0], 0, 0, PAGE_READONLY);
        INSIDE(Processes[0])
        {
            for (ULONG Page = 0; Page < SectionPages[Section]; Page++) {
                if (!IsRight(View + (SIZE_T)Page * PAGE_SIZE, Section, Page)) {
                    print_error("section %u, page %u\n", Section, Page);
                    fail();
                }
            }
        }
        assert_int_equal(ZwUnmapViewOfSection(ProcessHandles[0], View), STATUS_SUCCESS);
    }
    for (ULONG Page = 0; Page < SectionPages[FILE_SECTION]; Page++) {
        assert_true(IsRight(SkBytes + (SIZE_T)Page * PAGE_SIZE, FILE_SECTION, Page));
    }
}

static void Sections_UnderPressure_KeepEveryByte(void **State)
{
    pthread_t Watcher;
    MM_COUNTERS Counters;
    ULONG64 Steps = 0, Seed = KitEnvironment("NTMM_STRESS_SEED", 1);
    (void)State;
    ULONG64 Data = KitEnvironment("NTMM_STRESS_DATA", 4 * Ram - (SK_BYTES >> 20)) << 20;
    for (ULONG Section = 0; Section < FILE_SECTION; Section++) {
        SectionPages[Section] = (ULONG)(Data / FILE_SECTION / PAGE_SIZE);
        Sections[Section] =
            SkCreate((LONGLONG)SectionPages[Section] * PAGE_SIZE, PAGE_READWRITE, SEC_COMMIT, NULL, STATUS_SUCCESS);
    }
    Sections[FILE_SECTION] = SkFileSection(SK_BYTES, PAGE_READWRITE);
    SectionPages[FILE_SECTION] = SK_BYTES / PAGE_SIZE;
    for (ULONG Section = 0; Section < SECTIONS; Section++) {
        Generations[Section] = calloc(SectionPages[Section], sizeof(ULONG));
    }
    Deadline = KitMilliseconds() + 1000 * KitEnvironment("NTMM_STRESS_SECONDS", 2);
    for (ULONG Index = 0; Index < THREADS; Index++) {
        WORKER *Me = &Workers[Index];
        Me->Number = Index;
        Me->Random = (Seed + Index) * 0x9E3779B97F4A7C15ull | 1;
        assert_int_equal(pthread_create(&Me->Thread, NULL, Work, Me), 0);
    }
    assert_int_equal(pthread_create(&Watcher, NULL, Watch, NULL), 0);
    for (ULONG Index = 0; Index < THREADS; Index++) {
        pthread_join(Workers[Index].Thread, NULL);
    }
    __atomic_store_n(&Over, 1, __ATOMIC_RELEASE);
    pthread_join(Watcher, NULL);
    for (ULONG Index = 0; Index < THREADS; Index++) {
        if (Workers[Index].Errors) {
            print_error("thread %u: %s\n", Index, Workers[Index].What);
        }
        assert_int_equal(Workers[Index].Errors, 0);
        Steps += Workers[Index].Steps;
    }
    if (Broken) {
        print_error("%s\n", Broken);
    }
    assert_null(Broken);
    EveryPageIsRight();
    MmQueryCounters(&Counters);
    print_message(
        "%lu steps, %lu hard faults, %lu soft, %lu pages to page files, %lu to the file by the writer, %lu validations\n",
        (unsigned long)Steps, (unsigned long)Counters.HardFaults, (unsigned long)Counters.SoftFaults,
        (unsigned long)Counters.PagesWritten, (unsigned long)Counters.MappedPagesWritten, (unsigned long)Validations);
    for (ULONG Section = 0; Section < SECTIONS; Section++) {
        ZwClose(Sections[Section]);
        free(Generations[Section]);
    }
    KitAssertValid();
}

static HANDLE MakeImage(void)
{
    char Path[100];
    OBJECT_ATTRIBUTES Attributes;
    IO_STATUS_BLOCK Block;
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\??\\C:\\image.sys");
    HANDLE File;
    PbBuild(ImageBytes, 0);
    snprintf(Path, sizeof Path, "%s/image.sys", Folder);
    FILE *Out = fopen(Path, "wb");
    if (Out == NULL || fwrite(ImageBytes, 1, sizeof ImageBytes, Out) != sizeof ImageBytes || fclose(Out) != 0) {
        return NULL;
    }
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    assert_int_equal(ZwCreateFile(&File, GENERIC_READ | SYNCHRONIZE, &Attributes, &Block, NULL, FILE_ATTRIBUTE_NORMAL,
                                  FILE_SHARE_READ, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0),
                     STATUS_SUCCESS);
    HANDLE Section = SkCreate(0, PAGE_EXECUTE_READ, SEC_IMAGE, File, STATUS_SUCCESS);
    ZwClose(File);
    return Section;
}

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Ram = KitEnvironment("NTMM_STRESS_RAM", 16);
    Options.ram = Ram << 20;
    Options.cpus = 2;
    if (mkdtemp(Folder) == NULL) {
        return -1;
    }
    snprintf(Options.drive, sizeof Options.drive, "%s", Folder);
    snprintf(Options.pagefile, sizeof Options.pagefile, "/tmp/ntmm-sstress-%d:%luM", (int)getpid(),
             (unsigned long)(2 * KitEnvironment("NTMM_STRESS_DATA", 4 * Ram)));
    Options.pagefile_check = 1;
    if (ntmm_start(&Options) != 0 || !NT_SUCCESS(ntmm_add_driver("SectionFile", SkEntryPoint, &SkDriver))) {
        print_error("%s\n", ntmm_error());
        return -1;
    }
    for (ULONG Index = 0; Index < PROCESSES; Index++) {
        if (!NT_SUCCESS(PspCreateNamedProcess("stress", &Processes[Index])) ||
            !NT_SUCCESS(ObOpenObjectByPointer(Processes[Index], OBJ_KERNEL_HANDLE, NULL, PROCESS_ALL_ACCESS, *PsProcessType,
                                              KernelMode, &ProcessHandles[Index]))) {
            return -1;
        }
    }
    Image = MakeImage();
    return Image ? 0 : -1;
}

static int Stop(void **State)
{
    ntmm_leftovers Left;
    char Command[100];
    int Bad = 0;
    (void)State;
    ZwClose(Image);
    for (ULONG Index = 0; Index < PROCESSES; Index++) {
        ZwClose(ProcessHandles[Index]);
        Bad |= PspEndProcess(Processes[Index], 0) != 0;
        ObDereferenceObject(Processes[Index]);
    }
    Bad |= ntmm_remove_driver(SkDriver, &Left) != 0;
    Bad |= ntmm_stop();
    snprintf(Command, sizeof Command, "rm -rf %s", Folder);
    return system(Command) | Bad;
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(Sections_UnderPressure_KeepEveryByte)};
    return cmocka_run_group_tests(Tests, Start, Stop);
}
