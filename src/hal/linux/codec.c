/*
 * codec.c - compression of pages, by LZ4: about the fastest there is, and it needs no memory but what it is given.
 * SPDX-License-Identifier: MIT
 */
#define LZ4_STATIC_LINKING_ONLY
#include <lz4.h>
#include "hal/linux/halp.h"

C_ASSERT(sizeof(LZ4_stream_t) <= HAL_CODEC_BYTES);

ULONG HalCompressPage(const VOID *Page, PVOID Target, ULONG Bytes, PVOID Scratch)
{
    int Length = LZ4_compress_fast_extState(Scratch, (const char *)Page, (char *)Target, HAL_PAGE_SIZE, (int)Bytes, 1);
    return Length > 0 ? (ULONG)Length : 0;
}

BOOLEAN HalDecompressPage(const VOID *Source, ULONG Bytes, PVOID Page)
{
    return LZ4_decompress_safe((const char *)Source, (char *)Page, (int)Bytes, HAL_PAGE_SIZE) == (int)HAL_PAGE_SIZE;
}
