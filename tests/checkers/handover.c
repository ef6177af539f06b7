/*
 * handover.c - what the thread sanitizer is shown (presets tsan and tsan-clang, with the library built for it): memory that one thread
 * gives back and another gets, of every kind; or two threads in one block at once. SPDX-License-Identifier: MIT
 *
 * handover KIND: one thread takes many blocks, writes to them without atomics and gives them back; then the other takes as many, and
 * writes to them. They tell each other so by relaxed atomics, and do not call the kernel to wait, so that nothing but the pools orders
 * their accesses. Prints how many blocks were handed over; the sanitizer has nothing to say.
 *
 * handover KIND shared: both write to the same block. handover KIND late: the first goes on writing after it gave its blocks back.
 * The sanitizer reports either.
 */
#include <ntifs.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define COUNT 600
#define TAG   'vonH'

static const char *Kind;
static BOOLEAN Shared, Late;
static SIZE_T Size = 1000; /* of which a thread keeps fewer to itself than COUNT */
static NPAGED_LOOKASIDE_LIST Resident;
static PAGED_LOOKASIDE_LIST Pageable;
static LOOKASIDE_LIST_EX Either;
static SLIST_HEADER List;
static ULONG Turn;                    /* relaxed: orders nothing */
static ULONG_PTR First[COUNT], Given; /* relaxed */
static struct {
    PUCHAR Block[COUNT];
} Mine[2];

static BOOLEAN Is(const char *Name)
{
    return strcmp(Kind, Name) == 0;
}

static POOL_EXTENDED_PARAMS_SECURE_POOL Secure = {.Cookie = 1,
                                                  .SecurePoolFlags = SECURE_POOL_FLAGS_FREEABLE | SECURE_POOL_FLAGS_MODIFIABLE};

static PUCHAR Take(void)
{
    if (Is("npaged-list"))
        return ExAllocateFromNPagedLookasideList(&Resident);
    if (Is("paged-list"))
        return ExAllocateFromPagedLookasideList(&Pageable);
    if (Is("ex-list"))
        return ExAllocateFromLookasideListEx(&Either);
    if (Is("s-list"))
        return (PUCHAR)ExInterlockedPopEntrySList(&List, NULL);
    if (Is("secure")) {
        POOL_EXTENDED_PARAMETER Parameter = {.Type = PoolExtendedParameterSecurePool, .SecurePoolParams = &Secure};
        return ExAllocatePool3(POOL_FLAG_NON_PAGED, Size, TAG, &Parameter, 1);
    }
    return ExAllocatePool2(Is("paged") ? POOL_FLAG_PAGED : POOL_FLAG_NON_PAGED, Size, TAG);
}

static VOID Give(PUCHAR Block)
{
    if (Is("npaged-list"))
        ExFreeToNPagedLookasideList(&Resident, Block);
    else if (Is("paged-list"))
        ExFreeToPagedLookasideList(&Pageable, Block);
    else if (Is("ex-list"))
        ExFreeToLookasideListEx(&Either, Block);
    else if (Is("s-list"))
        ExInterlockedPushEntrySList(&List, (PSLIST_ENTRY)Block, NULL);
    else if (Is("secure")) {
        POOL_EXTENDED_PARAMS_SECURE_POOL Free = {.SecurePoolHandle = Secure.SecurePoolHandle, .Cookie = 1};
        POOL_EXTENDED_PARAMETER Parameter = {.Type = PoolExtendedParameterSecurePool, .SecurePoolParams = &Free};
        ExFreePool2(Block, TAG, &Parameter, 1);
    } else
        ExFreePoolWithTag(Block, TAG);
}

/* Secure pool is written to by its owner's routine alone. */
static VOID Write(PUCHAR Block, UCHAR Byte)
{
    if (Is("secure"))
        ExSecurePoolUpdate(Secure.SecurePoolHandle, TAG, Block, 1, 0, 1, &Byte);
    else
        for (ULONG Index = 16; Index < 48; Index++) /* behind an S-list's link; memset may be expanded without telling */
            ((volatile UCHAR *)Block)[Index] = Byte;
}

static VOID Await(ULONG Wanted)
{
    while (__atomic_load_n(&Turn, __ATOMIC_RELAXED) < Wanted)
        sched_yield();
}

static VOID Round(ULONG Me)
{
    for (ULONG Index = 0; Index < COUNT; Index++)
        if ((Mine[Me].Block[Index] = Take()) != NULL)
            Write(Mine[Me].Block[Index], (UCHAR)Index);
}

static VOID One(PVOID Context)
{
    Round(0);
    for (ULONG Index = 0; Index < COUNT; Index++)
        __atomic_store_n(&First[Index], (ULONG_PTR)Mine[0].Block[Index], __ATOMIC_RELAXED);
    if (Shared) {
        __atomic_store_n(&Turn, 1, __ATOMIC_RELAXED);
        Await(2);
    }
    for (ULONG Index = 0; Index < COUNT; Index++)
        if (Mine[0].Block[Index] != NULL)
            Give(Mine[0].Block[Index]);
    if (!Shared)
        __atomic_store_n(&Turn, 1, __ATOMIC_RELAXED);
    Await(2);
    if (Late)
        for (ULONG Index = 0; Index < COUNT; Index++)
            ((volatile UCHAR *)Mine[0].Block[Index])[20] = 1; /* its block no more */
    UNREFERENCED_PARAMETER(Context);
}

static VOID Other(PVOID Context)
{
    Await(1);
    if (Shared) {
        ((volatile UCHAR *)__atomic_load_n(&First[COUNT - 1], __ATOMIC_RELAXED))[20] = 2;
    } else {
        Round(1);
        for (ULONG Index = 0; Index < COUNT; Index++)
            for (ULONG Before = 0; Before < COUNT; Before++)
                Given += Mine[1].Block[Index] != NULL &&
                         (ULONG_PTR)Mine[1].Block[Index] == __atomic_load_n(&First[Before], __ATOMIC_RELAXED);
    }
    __atomic_store_n(&Turn, 2, __ATOMIC_RELAXED);
    UNREFERENCED_PARAMETER(Context);
}

int main(int argc, char **argv)
{
    static KSTART_ROUTINE *const Routines[2] = {One, Other};
    static DECLSPEC_ALIGN(16) UCHAR Entries[COUNT][64];
    PVOID Threads[2];
    if (argc < 2)
        return 2;
    Kind = argv[1];
    Shared = argc > 2 && strcmp(argv[2], "shared") == 0;
    Late = argc > 2 && strcmp(argv[2], "late") == 0;
    if (Is("page"))
        Size = 4096;
    if (Is("large"))
        Size = 20000;
    ExInitializeNPagedLookasideList(&Resident, NULL, NULL, POOL_NX_ALLOCATION, 64, TAG, 0);
    ExInitializePagedLookasideList(&Pageable, NULL, NULL, 0, 64, TAG, 0);
    ExInitializeLookasideListEx(&Either, NULL, NULL, NonPagedPoolNx, 0, 64, TAG, 0);
    InitializeSListHead(&List);
    for (ULONG Index = 0; Index < COUNT; Index++)
        ExInterlockedPushEntrySList(&List, (PSLIST_ENTRY)(PVOID)Entries[Index], NULL);
    if (Is("secure") && !NT_SUCCESS(ExCreatePool(POOL_CREATE_FLG_SECURE_POOL, TAG, NULL, &Secure.SecurePoolHandle)))
        return 2;
    for (ULONG Index = 0; Index < 2; Index++) {
        HANDLE Handle;
        if (!NT_SUCCESS(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Routines[Index], NULL)) ||
            !NT_SUCCESS(ObReferenceObjectByHandle(Handle, SYNCHRONIZE, *PsThreadType, KernelMode, &Threads[Index], NULL)))
            return 2;
        ZwClose(Handle);
    }
    for (ULONG Index = 0; Index < 2; Index++)
        KeWaitForSingleObject(Threads[Index], Executive, KernelMode, FALSE, NULL);
    printf("%s: %lu handed over\n", Kind, (unsigned long)Given);
    return Shared || Given != 0 ? 0 : 3;
}
