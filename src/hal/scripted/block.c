/*
 * block.c - the double's block devices, and its codec. SPDX-License-Identifier: MIT
 *
 * A device is an array of bytes; its path is only looked at to refuse a second of the same name. Nothing moves by itself:
 * what HalSubmitIo is given waits until the test calls HalScriptRunIo, which makes the transfers that are due (a delay is the
 * machine's time, which the test owns) in the order they were given and the upcalls on the calling thread. HalTransferIo
 * moves at once; a delay that hits it moves time. The codec packs runs of equal words: what a page compresses to is easily
 * told in advance.
 *
 * Lock: HalpIoLock; not held across upcalls. Tests: tests/hal/block.c over the double; scripted_pagefile.c.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "hal/scripted/scriptp.h"
#include "hal/faultrules.h"
#include "hal/iocheck.h"

struct _HAL_DEVICE {
    PUCHAR Data;
    ULONG64 Bytes;
    CHAR Path[256];
    struct _HAL_DEVICE *Next;
};
typedef struct _HALP_IO_STATE {
    HAL_IO *Next;
    ULONG64 Due, Value;
    ULONG Fault; /* HAL_IO_FAULT_KIND, or HalIoFaultKinds: none */
} HALP_IO_STATE;
C_ASSERT(sizeof(HALP_IO_STATE) <= sizeof(((HAL_IO *)0)->Reserved));

static pthread_mutex_t HalpIoLock = PTHREAD_MUTEX_INITIALIZER;
static struct _HAL_DEVICE *HalpDevices;
static HAL_IO *HalpPending;

static HALP_IO_STATE *HalpIoState(HAL_IO *Io)
{
    return (HALP_IO_STATE *)(PVOID)Io->Reserved;
}

NTSTATUS HalOpenBlockDevice(const HAL_DEVICE_OPTIONS *Options, PHAL_DEVICE *Device)
{
    *Device = NULL;
    if (HalpRecord(HalScriptOpenBlockDevice, (ULONG64)Options->Path, Options->Bytes, Options->Flags)) {
        return STATUS_DISK_FULL;
    }
    if (!HalpScript.Started || HalpScript.Upcalls.IoDone == NULL || Options->Path == NULL || Options->Bytes == 0 ||
        Options->Bytes % HAL_PAGE_SIZE != 0 || (Options->Flags & ~(HAL_DEVICE_KEEP | HAL_DEVICE_BUFFERED)) != 0 ||
        strlen(Options->Path) >= sizeof(((struct _HAL_DEVICE *)0)->Path)) {
        return STATUS_INVALID_PARAMETER;
    }
    struct _HAL_DEVICE *New = (struct _HAL_DEVICE *)calloc(1, sizeof(*New));
    if (New == NULL || (New->Data = (PUCHAR)calloc(1, Options->Bytes)) == NULL) {
        free(New);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    New->Bytes = Options->Bytes;
    strcpy(New->Path, Options->Path);
    pthread_mutex_lock(&HalpIoLock);
    for (struct _HAL_DEVICE *Old = HalpDevices; Old != NULL; Old = Old->Next) {
        if (strcmp(Old->Path, New->Path) == 0) {
            pthread_mutex_unlock(&HalpIoLock);
            free(New->Data);
            free(New);
            return STATUS_OBJECT_NAME_COLLISION;
        }
    }
    if (HalpDevices == NULL) {
        HalpForgetFaults();
    }
    New->Next = HalpDevices;
    HalpDevices = New;
    pthread_mutex_unlock(&HalpIoLock);
    HalFacts.IoEngine = HAL_IO_ENGINE_SCRIPTED;
    *Device = New;
    return STATUS_SUCCESS;
}

VOID HalCloseBlockDevice(PHAL_DEVICE Device)
{
    HalpRecord(HalScriptCloseBlockDevice, (ULONG64)Device, 0, 0);
    pthread_mutex_lock(&HalpIoLock);
    struct _HAL_DEVICE **Link = &HalpDevices;
    while (*Link != Device) {
        Link = &(*Link)->Next;
    }
    *Link = Device->Next;
    pthread_mutex_unlock(&HalpIoLock);
    free(Device->Data);
    free(Device);
}

NTSTATUS HalGrowBlockDevice(PHAL_DEVICE Device, ULONG64 Bytes)
{
    NTSTATUS Status = STATUS_INVALID_PARAMETER;
    if (HalpRecord(HalScriptGrowBlockDevice, (ULONG64)Device, Bytes, 0)) {
        return STATUS_DISK_FULL;
    }
    pthread_mutex_lock(&HalpIoLock);
    if (Bytes % HAL_PAGE_SIZE == 0 && Bytes >= Device->Bytes) {
        PUCHAR Data = (PUCHAR)realloc(Device->Data, Bytes);
        Status = Data ? STATUS_SUCCESS : STATUS_DISK_FULL;
        if (Data) {
            memset(Data + Device->Bytes, 0, Bytes - Device->Bytes);
            Device->Data = Data;
            Device->Bytes = Bytes;
        }
    }
    pthread_mutex_unlock(&HalpIoLock);
    return Status;
}

BOOLEAN HalIsDeviceDirect(PHAL_DEVICE Device)
{
    UNREFERENCED_PARAMETER(Device);
    return TRUE;
}

/* ---- transfers ---- */
static NTSTATUS HalpCheckIo(const HAL_IO *Io)
{
    return HalpCheckTransfer(Io, HalpScript.WindowBytes, Io->Device->Bytes);
}

static VOID HalpTransferPlain(HAL_IO *Io)
{
    pthread_mutex_lock(&HalpIoLock);
    for (ULONG Index = 0; Index < Io->SpanCount; Index++) {
        PUCHAR Place = Io->Device->Data + Io->Offset + Io->Information;
        if (Io->Write) { /* NOLINTBEGIN(clang-analyzer-core.NonNullParamChecker): a device has data, a span its bytes */
            memcpy(Place, Io->Spans[Index].Base, Io->Spans[Index].Bytes);
        } else {
            memcpy(Io->Spans[Index].Base, Place, Io->Spans[Index].Bytes);
        } /* NOLINTEND(clang-analyzer-core.NonNullParamChecker) */
        Io->Information += Io->Spans[Index].Bytes;
    }
    pthread_mutex_unlock(&HalpIoLock);
    Io->Status = STATUS_SUCCESS;
}

static VOID HalpPrepareIo(HAL_IO *Io)
{
    HALP_IO_STATE *State = HalpIoState(Io);
    HAL_IO_FAULT Fault;
    *State = (HALP_IO_STATE){.Fault = HalIoFaultKinds};
    Io->Information = 0;
    Io->Status = HalpCheckIo(Io);
    if (NT_SUCCESS(Io->Status) && HalpTakeFault(Io, &Fault)) {
        State->Fault = (ULONG)Fault.Kind;
        State->Value = Fault.Value;
        State->Due = Fault.Kind == HalIoDelay ? HalQueryTime() + Fault.Value : 0;
    }
}

static VOID HalpTransfer(HAL_IO *Io)
{
    if (NT_SUCCESS(Io->Status)) {
        HalpTransferFaulty(Io, HalpIoState(Io)->Fault, HalpIoState(Io)->Value, HalpTransferPlain);
    }
}

VOID HalTransferIo(HAL_IO *Io)
{
    HalpRecord(HalScriptTransferIo, (ULONG64)Io, Io->Offset, Io->Write);
    HalpPrepareIo(Io);
    ULONG64 Now = HalQueryTime();
    if (HalpIoState(Io)->Due > Now) {
        HalScriptAdvanceTime(HalpIoState(Io)->Due - Now);
    }
    HalpTransfer(Io);
}

VOID HalSubmitIo(HAL_IO *Io)
{
    HalpRecord(HalScriptSubmitIo, (ULONG64)Io, Io->Offset, Io->Write);
    HalpPrepareIo(Io);
    pthread_mutex_lock(&HalpIoLock);
    HAL_IO **Link = &HalpPending;
    while (*Link != NULL) {
        Link = &HalpIoState(*Link)->Next;
    }
    *Link = Io;
    pthread_mutex_unlock(&HalpIoLock);
}

ULONG HalScriptPendingIo(VOID)
{
    ULONG Count = 0;
    pthread_mutex_lock(&HalpIoLock);
    for (HAL_IO *Io = HalpPending; Io != NULL; Io = HalpIoState(Io)->Next) {
        Count++;
    }
    pthread_mutex_unlock(&HalpIoLock);
    return Count;
}

ULONG HalScriptRunIo(ULONG Count)
{
    ULONG Ran = 0;
    while (Ran < Count) {
        ULONG64 Now = HalQueryTime();
        pthread_mutex_lock(&HalpIoLock);
        HAL_IO **Link = &HalpPending;
        while (*Link != NULL && HalpIoState(*Link)->Due > Now) {
            Link = &HalpIoState(*Link)->Next;
        }
        HAL_IO *Io = *Link;
        if (Io != NULL) {
            *Link = HalpIoState(Io)->Next;
        }
        pthread_mutex_unlock(&HalpIoLock);
        if (Io == NULL) {
            break;
        }
        HalpTransfer(Io);
        if (HalpCurrentThread == NULL && HalpScript.Upcalls.AttachThread) {
            HalpScript.Upcalls.AttachThread();
        }
        HalpScript.Upcalls.IoDone(Io);
        Ran++;
    }
    return Ran;
}

/* ---- the codec: {ULONG count, ULONG64 word} after each other, 12 bytes a run ---- */
ULONG HalCompressPage(const VOID *Page, PVOID Target, ULONG Bytes, PVOID Scratch)
{
    const ULONG64 *Words = (const ULONG64 *)Page;
    PUCHAR Out = (PUCHAR)Target;
    ULONG Used = 0;
    memset(Scratch, 0xA5, HAL_CODEC_BYTES);
    for (ULONG Index = 0, Count; Index < HAL_PAGE_SIZE / 8; Index += Count) {
        for (Count = 1; Index + Count < HAL_PAGE_SIZE / 8 && Words[Index + Count] == Words[Index]; Count++) {
        }
        if (Used + 12 > Bytes) {
            return 0;
        }
        memcpy(Out + Used, &Count, 4);
        memcpy(Out + Used + 4, &Words[Index], 8);
        Used += 12;
    }
    return Used;
}

BOOLEAN HalDecompressPage(const VOID *Source, ULONG Bytes, PVOID Page)
{
    const UCHAR *In = (const UCHAR *)Source;
    ULONG64 *Words = (ULONG64 *)Page;
    ULONG Index = 0;
    for (ULONG Used = 0; Used + 12 <= Bytes; Used += 12) {
        ULONG Count;
        ULONG64 Word;
        memcpy(&Count, In + Used, 4);
        memcpy(&Word, In + Used + 4, 8);
        if (Count > HAL_PAGE_SIZE / 8 - Index) {
            return FALSE;
        }
        while (Count-- != 0) {
            Words[Index++] = Word;
        }
    }
    return Bytes % 12 == 0 && Index == HAL_PAGE_SIZE / 8;
}
