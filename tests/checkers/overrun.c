/*
 * overrun.c - what memory checkers are shown: writes past a pool block, or into a freed one, or does nothing wrong.
 * SPDX-License-Identifier: MIT
 */
#include <ntifs.h>
#include <stdio.h>

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
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    ZwClose(Thread);
    puts("good");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argv[1][0] == 'g')
        return Good();
    if (argv[1][0] == 'p')
        return Plain();
    volatile UCHAR *Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 44, 'tseT');
    if (argv[1][0] == 'f')
        ExFreePool((PVOID)Block);
    Block[argv[1][0] == 'f' ? 40 : 45] = 1; /* the line */
    return 0;
}
