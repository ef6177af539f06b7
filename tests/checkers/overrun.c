/*
 * overrun.c - what memory checkers are shown: a write past a pool block, into a freed one, into an entry that is free in a lookaside
 * list; or nothing wrong.
 * SPDX-License-Identifier: MIT
 */
#include <ntifs.h>
#include <stdio.h>
#include <string.h>

static VOID Work(PVOID Context)
{
    for (ULONG Round = 0; Round < 100; Round++) {
        PUCHAR Block = ExAllocatePool2(POOL_FLAG_PAGED, 1 + Round * 60, 'tseT');
        Block[0] = (UCHAR)Round;
        ExFreePoolWithTag(Block, 'tseT');
    }
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

/* Resident memory alone: under valgrind the first touch of a pageable page is told as an error. */
static int Plain(void)
{
    for (ULONG Round = 0; Round < 100; Round++) {
        PUCHAR Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 44 + Round * 50, 'tseT');
        for (ULONG Index = 0; Index < 44; Index++)
            Block[Index] = (UCHAR)Index;
        ExFreePoolWithTag(Block, 'tseT');
    }
    puts("good");
    return 0;
}

/* Entries of a lookaside list come and go, and are whole when they come. */
static VOID Lists(VOID)
{
    LOOKASIDE_LIST_EX List;
    PUCHAR Entries[50];
    ExInitializeLookasideListEx(&List, NULL, NULL, NonPagedPoolNx, 0, 100, 'tseT', 0);
    for (ULONG Round = 0; Round < 10; Round++) {
        for (ULONG Index = 0; Index < 50; Index++)
            memset(Entries[Index] = ExAllocateFromLookasideListEx(&List), (int)Index, 100);
        for (ULONG Index = 0; Index < 50; Index++)
            ExFreeToLookasideListEx(&List, Entries[Index]);
    }
    ExFlushLookasideListEx(&List);
    ExDeleteLookasideListEx(&List);
}

/* Threads, locks, large and small blocks, paged and not: all of it correct. */
static int Good(void)
{
    KEVENT Done;
    HANDLE Thread;
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    if (!NT_SUCCESS(PsCreateSystemThread(&Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Work, &Done)))
        return 3;
    for (ULONG Round = 0; Round < 100; Round++) {
        PUCHAR Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 44 + Round, 'tseT');
        RtlFillMemory(Block, 44 + Round, 0x11);
        ExFreePool(Block);
    }
    Lists();
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    ZwClose(Thread);
    puts("good");
    return 0;
}

/* An entry that went back to a lookaside list. */
static PUCHAR FreeEntry(const char *Kind)
{
    static NPAGED_LOOKASIDE_LIST Resident;
    static PAGED_LOOKASIDE_LIST Pageable;
    static LOOKASIDE_LIST_EX Either;
    PUCHAR Entry;
    if (strcmp(Kind, "npaged-list") == 0) {
        ExInitializeNPagedLookasideList(&Resident, NULL, NULL, POOL_NX_ALLOCATION, 44, 'tseT', 0);
        Entry = ExAllocateFromNPagedLookasideList(&Resident);
        ExFreeToNPagedLookasideList(&Resident, Entry);
    } else if (strcmp(Kind, "paged-list") == 0) {
        ExInitializePagedLookasideList(&Pageable, NULL, NULL, 0, 44, 'tseT', 0);
        Entry = ExAllocateFromPagedLookasideList(&Pageable);
        ExFreeToPagedLookasideList(&Pageable, Entry);
    } else {
        ExInitializeLookasideListEx(&Either, NULL, NULL, NonPagedPoolNx, 0, 44, 'tseT', 0);
        Entry = ExAllocateFromLookasideListEx(&Either);
        ExFreeToLookasideListEx(&Either, Entry);
    }
    return Entry;
}

static const struct {
    const char *Name;
    ULONG64 Pool;
    SIZE_T Size, Offset;
    BOOLEAN Freed;
} Sins[] = {{"overrun", POOL_FLAG_NON_PAGED, 44, 45, FALSE},
            {"freed", POOL_FLAG_NON_PAGED, 44, 40, TRUE},
            {"paged-overrun", POOL_FLAG_PAGED, 44, 44, FALSE},
            {"paged-freed", POOL_FLAG_PAGED, 44, 0, TRUE},
            {"large-overrun", POOL_FLAG_NON_PAGED, 9000, 9001, FALSE},
            {"large-freed", POOL_FLAG_NON_PAGED, 9000, 8000, TRUE},
            {"npaged-list", 0, 44, 20, TRUE},
            {"paged-list", 0, 44, 40, TRUE},
            {"ex-list", 0, 44, 30, TRUE}};

int main(int argc, char **argv)
{
    volatile UCHAR *Block = NULL;
    SIZE_T Offset = 0;
    if (argc < 2 || strcmp(argv[1], "good") == 0)
        return Good();
    if (strcmp(argv[1], "plain") == 0)
        return Plain();
    for (ULONG Index = 0; Index < ARRAYSIZE(Sins); Index++) {
        if (strcmp(argv[1], Sins[Index].Name) == 0) {
            Offset = Sins[Index].Offset;
            Block = Sins[Index].Pool != 0 ? ExAllocatePool2(Sins[Index].Pool, Sins[Index].Size, 'tseT') : FreeEntry(argv[1]);
            if (Sins[Index].Pool != 0 && Sins[Index].Freed)
                ExFreePool((PVOID)Block);
        }
    }
    Block[Offset] = 1; /* the line */
    return 0;
}
