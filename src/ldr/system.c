/*
 * system.c - the loader's part of system start, the KPCR of threads that run foreign code, and routines by name.
 * SPDX-License-Identifier: MIT
 *
 * Tells the core where the border is, who emulates, and who makes a thread ready. KI_CALLOUT asks for the KPCR on a
 * thread's first call into foreign code:
 *
 *   gs:0x20   processor control block         gs:0x184  processor number (kept current by ke)
 *   gs:0x188  current thread
 *
 * The KPCR is thread-local storage: a thread's code sees it as long as the thread lives, and nothing has to free it.
 */
#include "ldr/border_special.h"
#include "ldr/ldrp.h"

static _Thread_local KI_PCR LdrpPcr;

VOID LdrPrepareThread(VOID)
{
    KTHREAD *Thread = KiCurrentThread();
    if (Thread->Pcr == NULL) {
        LdrpPcr.CurrentThread = Thread;
        LdrpPcr.CurrentPrcb = Thread->Prcb;
        LdrpPcr.Number = Thread->Prcb != NULL ? Thread->Prcb->Number : 0;
        HalSetPcr(&LdrpPcr);
        Thread->Pcr = &LdrpPcr;
    }
}

NTSTATUS LdrInitSystem(VOID)
{
    KiPrepareForeignRoutine = LdrPrepareThread;
    KiEmulateRoutine = LdrpEmulate;
    LdrpInitBorder();
    LdrpInitServices();
    return STATUS_SUCCESS;
}

static BOOLEAN LdrpTakeAny(LDR_IMAGE *Image, PVOID Context)
{
    *(LDR_IMAGE **)Context = Image;
    return Image->ReferenceCount != 0; /* users of others go first */
}

VOID LdrShutdownSystem(VOID)
{
    LdrpShutdownServices();
    for (;;) {
        LDR_IMAGE *Image = NULL;
        LdrpEnumerateImages(LdrpTakeAny, &Image);
        if (Image == NULL || !NT_SUCCESS(LdrUnloadImage(Image))) {
            break;
        }
    }
    KiEmulateRoutine = NULL;
}

PVOID MmGetSystemRoutineAddress(PUNICODE_STRING SystemRoutineName)
{
    const LDR_ENTRY *Entry = LdrpFindWide(SystemRoutineName);
    return LdrEntryAddress(Entry, FALSE);
}

PVOID MmGetSystemRoutineAddressEx(PUNICODE_STRING ModuleName, PSTR FunctionName)
{
    CHAR Module[128];
    if (FunctionName == NULL || !LdrpNarrowName(ModuleName, Module, sizeof(Module)) || LdrIsKernelModule(Module)) {
        return NULL;
    }
    const LDR_IMAGE *Image = LdrpFindImageByName(Module);
    return Image != NULL ? LdrFindExport(Image, FunctionName) : NULL;
}
