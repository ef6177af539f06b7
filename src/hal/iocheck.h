/*
 * iocheck.h - what both machines ask of a transfer before they take it. SPDX-License-Identifier: MIT
 *
 * The contract is HalSubmitIo's (hal.h): whole pages of the window, at a multiple of a page, inside the device.
 */
#pragma once
#include "hal/hal.h"

static inline NTSTATUS HalpCheckTransfer(const HAL_IO *Io, ULONG64 WindowBytes, ULONG64 DeviceBytes)
{
    ULONG64 Bytes = 0;
    if (Io->SpanCount == 0 || Io->SpanCount > HAL_IO_MAX_SPANS || Io->Offset % HAL_PAGE_SIZE != 0) {
        return STATUS_INVALID_PARAMETER;
    }
    for (ULONG Index = 0; Index < Io->SpanCount; Index++) {
        ULONG64 Base = (ULONG_PTR)Io->Spans[Index].Base - HalFacts.WindowBase, Length = Io->Spans[Index].Bytes;
        if (Length == 0 || (Base | Length) % HAL_PAGE_SIZE != 0 || Length > WindowBytes || Base > WindowBytes - Length) {
            return STATUS_INVALID_PARAMETER;
        }
        Bytes += Length;
    }
    return Io->Offset > DeviceBytes || Bytes > DeviceBytes - Io->Offset ? STATUS_END_OF_FILE : STATUS_SUCCESS;
}
