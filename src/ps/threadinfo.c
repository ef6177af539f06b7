/*
 * threadinfo.c - what can be set about a thread by its handle. SPDX-License-Identifier: MIT
 *
 * Implements ZwSetInformationThread and NtSetInformationThread. Each class has one size and a range of values; what is outside is
 * refused before anything changes:
 *
 *      class                         value                                              kept in, read by
 *      ThreadPriority                LOW_PRIORITY < n <= HIGH_PRIORITY                  KTHREAD.Priority (reported only)
 *      ThreadBasePriority            -2 to 2, and the ends of the variable class, +-15  the same, 8 + n
 *      ThreadPagePriority            MEMORY_PRIORITY_VERY_LOW to _NORMAL                KTHREAD.PagePriority: mm/pfn.c
 *      ThreadPowerThrottlingState    version 1, known flags, no state without control   nothing: the host schedules
 *
 * Locks: none; the fields are atomic. IRQL = PASSIVE_LEVEL.
 */
#include "mm/vm.h"
#include "ps/psp.h"

static NTSTATUS PspSetThread(KPROCESSOR_MODE Mode, HANDLE Handle, THREADINFOCLASS Class, PVOID Information, ULONG Length)
{
    union {
        LONG Number;
        PAGE_PRIORITY_INFORMATION Page;
        POWER_THROTTLING_THREAD_STATE Power;
    } Value;
    ULONG Need;
    switch ((ULONG)Class) {
    case ThreadPriority:
    case ThreadBasePriority:
        Need = sizeof Value.Number;
        break;
    case ThreadPagePriority:
        Need = sizeof Value.Page;
        break;
    case ThreadPowerThrottlingState:
        Need = sizeof Value.Power;
        break;
    default:
        return STATUS_INVALID_INFO_CLASS;
    }
    if (Length != Need)
        return STATUS_INFO_LENGTH_MISMATCH;
    KTHREAD *Thread;
    BOOLEAN Good = FALSE;
    NTSTATUS Status = MmCaptureFrom(Mode, &Value, Information, Need);
    if (NT_SUCCESS(Status))
        Status = ObReferenceObjectByHandle(Handle, THREAD_SET_INFORMATION, &PspThreadType, Mode, (PVOID *)&Thread, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    switch ((ULONG)Class) {
    case ThreadPriority:
        Good = Value.Number > LOW_PRIORITY && Value.Number <= HIGH_PRIORITY;
        if (Good)
            KeSetPriorityThread(Thread, Value.Number);
        break;
    case ThreadBasePriority:
        Good = (Value.Number >= -2 && Value.Number <= 2) || Value.Number == 15 || Value.Number == -15;
        if (Good)
            KeSetBasePriorityThread(Thread, Value.Number);
        break;
    case ThreadPagePriority:
        Good = Value.Page.PagePriority >= MEMORY_PRIORITY_VERY_LOW && Value.Page.PagePriority <= MEMORY_PRIORITY_NORMAL;
        if (Good)
            __atomic_store_n(&Thread->PagePriority, (UCHAR)Value.Page.PagePriority, __ATOMIC_RELAXED);
        break;
    default:
        Good = Value.Power.Version == POWER_THROTTLING_THREAD_CURRENT_VERSION &&
               (Value.Power.ControlMask & ~(ULONG)POWER_THROTTLING_THREAD_VALID_FLAGS) == 0 &&
               (Value.Power.StateMask & ~Value.Power.ControlMask) == 0;
        break;
    }
    ObfDereferenceObject(Thread);
    return Good ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

NTSTATUS ZwSetInformationThread(HANDLE ThreadHandle, THREADINFOCLASS ThreadInformationClass, PVOID ThreadInformation,
                                ULONG ThreadInformationLength)
{
    KI_CHECK_SERVICE(NULL, NULL, ThreadInformation);
    PSP_SERVE(FALSE);
    return PspSetThread(Service_.Mode, ThreadHandle, ThreadInformationClass, ThreadInformation, ThreadInformationLength);
}

NTSTATUS NtSetInformationThread(HANDLE ThreadHandle, THREADINFOCLASS ThreadInformationClass, PVOID ThreadInformation,
                                ULONG ThreadInformationLength)
{
    PSP_SERVE(TRUE);
    return PspSetThread(Service_.Mode, ThreadHandle, ThreadInformationClass, ThreadInformation, ThreadInformationLength);
}
