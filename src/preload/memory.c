/*
 * memory.c - memset, memcpy, memmove and memcmp of the library itself. SPDX-License-Identifier: MIT
 *
 * The C library's own forms lie in parts of it that a small process touches for nothing else (host.h). These fill and copy what the
 * pools and malloc need: up to 256 bytes in pieces of 16, more by the processor's string instructions. They are hidden: the
 * program keeps the C library's.
 */
#include <ntdef.h>

typedef ULONG64 MEMORY_PIECE __attribute__((vector_size(16), aligned(1), may_alias));
typedef ULONG64 MEMORY_WORD __attribute__((aligned(1), may_alias));

void *memset(void *To, int Value, SIZE_T Bytes);
void *memcpy(void *To, const void *From, SIZE_T Bytes);
void *memmove(void *To, const void *From, SIZE_T Bytes);
int memcmp(const void *One, const void *Other, SIZE_T Bytes);

#define PIECES 256u

void *memset(void *To, int Value, SIZE_T Bytes)
{
    PUCHAR At = To;
    ULONG64 Word = (UCHAR)Value * 0x0101010101010101ull;
    MEMORY_PIECE Piece = {Word, Word};
    SIZE_T Index;
    if (Bytes > PIECES) {
        PVOID Next = To;
        __asm__ volatile("rep stosb" : "+D"(Next), "+c"(Bytes) : "a"(Value) : "memory");
    } else if (Bytes >= 16) {
        for (Index = 0; Index < Bytes - 16; Index += 16)
            *(MEMORY_PIECE *)(At + Index) = Piece;
        *(MEMORY_PIECE *)(At + Bytes - 16) = Piece;
    } else if (Bytes >= 8) {
        *(MEMORY_WORD *)At = Word;
        *(MEMORY_WORD *)(At + Bytes - 8) = Word;
    } else {
        while (Bytes-- != 0)
            At[Bytes] = (UCHAR)Value;
    }
    return To;
}

void *memcpy(void *To, const void *From, SIZE_T Bytes)
{
    PUCHAR At = To;
    const UCHAR *Of = From;
    SIZE_T Index;
    if (Bytes > PIECES) {
        PVOID Next = To;
        __asm__ volatile("rep movsb" : "+D"(Next), "+S"(From), "+c"(Bytes) : : "memory");
    } else if (Bytes >= 16) {
        MEMORY_PIECE Last = *(const MEMORY_PIECE *)(Of + Bytes - 16);
        for (Index = 0; Index < Bytes - 16; Index += 16)
            *(MEMORY_PIECE *)(At + Index) = *(const MEMORY_PIECE *)(Of + Index);
        *(MEMORY_PIECE *)(At + Bytes - 16) = Last;
    } else if (Bytes >= 8) {
        ULONG64 First = *(const MEMORY_WORD *)Of, Last = *(const MEMORY_WORD *)(Of + Bytes - 8);
        *(MEMORY_WORD *)At = First;
        *(MEMORY_WORD *)(At + Bytes - 8) = Last;
    } else {
        while (Bytes-- != 0)
            At[Bytes] = Of[Bytes];
    }
    return To;
}

void *memmove(void *To, const void *From, SIZE_T Bytes)
{
    PUCHAR At = To;
    const UCHAR *Of = From;
    if ((ULONG_PTR)To - (ULONG_PTR)From >= Bytes)
        return memcpy(To, From, Bytes); /* forwards: what is overwritten has been read */
    while (Bytes-- != 0)
        At[Bytes] = Of[Bytes];
    return To;
}

int memcmp(const void *One, const void *Other, SIZE_T Bytes)
{
    const UCHAR *A = One, *B = Other;
    for (; Bytes != 0; Bytes--, A++, B++)
        if (*A != *B)
            return *A < *B ? -1 : 1;
    return 0;
}
