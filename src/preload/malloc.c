/*
 * malloc.c - malloc and its family over the pools, as the C library documents them. SPDX-License-Identifier: MIT
 *
 * malloc and free are the pools' fast paths (ex/fast.h) inlined, and their general paths behind them. The tag of every block is 'Malc'; its bytes are
 * what the caller asked for, so malloc_usable_size is exact and what lies behind it is checked when the block is freed.
 *
 * errno: ENOMEM where memory was asked for and there is none, or the size cannot be; pages.c sets it when the host or the
 * limit says no, so that the fast path does not look. EINVAL of posix_memalign and aligned_alloc for an alignment that is
 * not a power of two (posix_memalign also: or not a multiple of a pointer's size); posix_memalign returns its error and
 * leaves errno alone. Nothing else changes errno, free least of all.
 *
 * Documents leave open, and glibc's way is followed: malloc(0) is a block of its own; realloc(p, 0) with p frees p and
 * returns NULL; aligned_alloc takes sizes that are no multiple of the alignment; memalign rounds the alignment up to a power
 * of two; pvalloc rounds the size up to whole pages.
 *
 * What a program does wrong is told as the pools tell a driver: "*** STOP: 0x000000C2 (0x7, ...)" for a double free, and the
 * program is aborted.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#define EXP_FAST_PATHS
#include "ex/fast.h"
#include "preload/preload.h"

#define EXPORT    __attribute__((visibility("default"), used))
#define MAX_BYTES PreloadLimit

EXPORT void *malloc(size_t Size);
EXPORT void free(void *Block);
EXPORT void *calloc(size_t Count, size_t Size);
EXPORT void *realloc(void *Block, size_t Size);
EXPORT void *reallocarray(void *Block, size_t Count, size_t Size);
EXPORT void *aligned_alloc(size_t Alignment, size_t Size);
EXPORT int posix_memalign(void **Result, size_t Alignment, size_t Size);
EXPORT void *memalign(size_t Alignment, size_t Size);
EXPORT void *valloc(size_t Size);
EXPORT void *pvalloc(size_t Size);
EXPORT size_t malloc_usable_size(void *Block);
EXPORT void cfree(void *Block);

static DECLSPEC_NOINLINE PVOID PreloadNoMemory(VOID)
{
    errno = ENOMEM;
    return NULL;
}

/* What the fast paths leave: most likely a magazine is empty, or full. */
static DECLSPEC_NOINLINE PVOID PreloadAllocate(size_t Size)
{
    EXP_CACHE *Cache = PreloadThread.ExCache;
    PVOID Block;
    if (Cache != NULL && Size - 1 < ExpFast.MaxSmall && ExpReadyToAllocate(Cache, 0, Size) &&
        (Block = ExpTryMallocLike(Cache, Size, ExpChecks())) != NULL)
        return Block;
    return Size > MAX_BYTES ? PreloadNoMemory() : ExpMallocGeneral(Size, 16);
}

static DECLSPEC_NOINLINE VOID PreloadFree(PVOID Block)
{
    EXP_CACHE *Cache = PreloadThread.ExCache;
    if (Block == NULL || (Cache != NULL && ExpTryFreeAgain(Cache, (ULONG_PTR)Block, 0, 0, ExpFreeHost)))
        return;
    ExpFreeGeneral(Block, 0, EXP_HOST, 0);
}

/* ExBare is NULL where there are checks, and also in a thread that has no cache, which goes on to the general path whatever the
 * options. */
void *malloc(size_t Size)
{
    PVOID Block = PreloadThread.ExBare != NULL ? ExpTryMallocLike(PreloadThread.ExBare, Size, FALSE)
                                               : ExpTryMallocLike(PreloadThread.ExCache, Size, TRUE);
    return __builtin_expect(Block != NULL, 1) ? Block : PreloadAllocate(Size);
}

void free(void *Block)
{
    if (__builtin_expect(PreloadThread.ExBare != NULL ? !ExpTryFreeLike(PreloadThread.ExBare, Block, FALSE)
                                                      : !ExpTryFreeLike(PreloadThread.ExCache, Block, TRUE),
                         0))
        PreloadFree(Block);
}

void cfree(void *Block)
{
    free(Block);
}

void *calloc(size_t Count, size_t Size)
{
    size_t Bytes;
    PVOID Block;
    if (__builtin_expect(__builtin_mul_overflow(Count, Size, &Bytes) || Bytes > MAX_BYTES, 0))
        return PreloadNoMemory();
    if (Bytes > EXP_MAX_SMALL) /* fresh memory of the host is zero already, which the pools know */
        return ExpCallocGeneral(Bytes);
    Block = malloc(Bytes);
    return Block != NULL ? memset(Block, 0, Bytes) : NULL;
}

size_t malloc_usable_size(void *Block)
{
    return Block != NULL ? ExpSizeLike(Block) : 0;
}

void *realloc(void *Block, size_t Size)
{
    PVOID New;
    SIZE_T Old;
    if (Block == NULL)
        return malloc(Size);
    if (Size == 0) {
        free(Block);
        return NULL;
    }
    if (__builtin_expect(Size > MAX_BYTES, 0))
        return PreloadNoMemory();
    switch (ExpTryResizeLike(PreloadThread.ExCache, Block, Size, &Old)) {
    case ExpResizeDone:
        return Block;
    case ExpResizeMove:
        break;
    case ExpResizeUnknown:
        if (ExpResizeLike(Block, Size))
            return Block;
        Old = ExpSizeLike(Block);
    }
    New = malloc(Size);
    if (New == NULL)
        return NULL;
    memcpy(New, Block, Old < Size ? Old : Size);
    free(Block);
    return New;
}

void *reallocarray(void *Block, size_t Count, size_t Size)
{
    size_t Bytes;
    if (__builtin_mul_overflow(Count, Size, &Bytes))
        return PreloadNoMemory();
    return realloc(Block, Bytes);
}

static BOOLEAN PreloadIsPower(size_t Number)
{
    return Number != 0 && (Number & (Number - 1)) == 0;
}

static PVOID PreloadAligned(size_t Alignment, size_t Size)
{
    if (Size > MAX_BYTES || Alignment > MAX_BYTES)
        return PreloadNoMemory();
    return ExpMallocLike(Size, Alignment);
}

void *aligned_alloc(size_t Alignment, size_t Size)
{
    if (!PreloadIsPower(Alignment)) {
        errno = EINVAL;
        return NULL;
    }
    return PreloadAligned(Alignment, Size);
}

int posix_memalign(void **Result, size_t Alignment, size_t Size)
{
    int Saved = errno;
    PVOID Block;
    if (!PreloadIsPower(Alignment) || Alignment % sizeof(void *) != 0)
        return EINVAL;
    Block = PreloadAligned(Alignment, Size);
    errno = Saved;
    if (Block == NULL)
        return ENOMEM;
    *Result = Block;
    return 0;
}

void *memalign(size_t Alignment, size_t Size)
{
    size_t Power = 16;
    if (Alignment > MAX_BYTES) {
        errno = EINVAL;
        return NULL;
    }
    while (Power < Alignment)
        Power <<= 1;
    return PreloadAligned(Power, Size);
}

void *valloc(size_t Size)
{
    return PreloadAligned(PAGE_SIZE, Size);
}

void *pvalloc(size_t Size)
{
    if (Size > MAX_BYTES)
        return PreloadNoMemory();
    return PreloadAligned(PAGE_SIZE, Size == 0 ? PAGE_SIZE : (Size + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1));
}
