/*
 * guard.c - keeps the processor's signals with the machine while it runs. SPDX-License-Identifier: MIT
 *
 * Test frameworks and crash reporters install handlers for SIGSEGV and its like whenever they please (cmocka
 * before and after every test); each would take the page faults away, and the next touch of pool memory would
 * be "a crash". So while a machine runs, a signal() or sigaction() for one of these signals does not reach
 * the host: it is remembered as the handler that comes after ours (trap.c calls it for what is not the
 * core's), and answered as if it had been done. All other signals, and these when no machine runs, go where
 * they always went.
 *
 *     object's GOT slot for signal, sigaction  ---->  the functions below  ---->  libc's, or a sanitizer's
 *
 * The way in is the objects' own tables of imported functions, looked through at every start; no symbol is
 * exported for it, and libc and the sanitizers' runtimes are left as they are. An object loaded later, or one
 * that makes the system call itself, is not seen.
 *
 * Invariant 1: what HalpQueryAction answers is what a program without a machine would have been answered.
 * Lock: HalpActionLock in trap.c. Tests: tests/hal/linux_guard.c, and every test program that uses cmocka.
 */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include "hal/linux/halp.h"
#include "hal/linux/guard.h"

typedef VOID (*HALP_HANDLER)(int);
static int (*HalpNextSigaction)(int, const struct sigaction *, struct sigaction *);
static HALP_HANDLER (*HalpNextSignal)(int, HALP_HANDLER);

static int HalpSigaction(int Signal, const struct sigaction *New, struct sigaction *Old)
{
    struct sigaction Wanted;
    if (New) {
        Wanted = *New; /* may fault: not under the lock */
    }
    if (HalpKeepAction(Signal, New ? &Wanted : NULL, Old)) {
        return 0;
    }
    return HalpNextSigaction(Signal, New, Old);
}
static HALP_HANDLER HalpSignalCall(int Signal, HALP_HANDLER Handler)
{
    struct sigaction New, Old;
    memset(&New, 0, sizeof(New));
    New.sa_handler = Handler;
    New.sa_flags = SA_RESTART;
    if (HalpKeepAction(Signal, &New, &Old)) {
        return Old.sa_handler;
    }
    return HalpNextSignal(Signal, Handler);
}

static VOID HalpPatch(ULONG_PTR Slot, ULONG_PTR Function, ULONG_PTR ReadOnlyLow, ULONG_PTR ReadOnlyHigh)
{
    if (*(ULONG_PTR *)Slot == Function) {
        return;
    }
    BOOLEAN ReadOnly = Slot >= ReadOnlyLow && Slot < ReadOnlyHigh;
    if (ReadOnly && HalpFailed(HalpMprotect(Slot & ~0xFFFull, HAL_PAGE_SIZE, PROT_READ | PROT_WRITE))) {
        return;
    }
    __atomic_store_n((ULONG_PTR *)Slot, Function, __ATOMIC_RELEASE);
    if (ReadOnly) {
        HalpMprotect(Slot & ~0xFFFull, HAL_PAGE_SIZE, PROT_READ);
    }
}

static VOID HalpPatchTable(ULONG_PTR Base, const ElfW(Rela) * Table, SIZE_T Bytes, const ElfW(Sym) * Symbols, const CHAR *Names,
                           ULONG_PTR ReadOnlyLow, ULONG_PTR ReadOnlyHigh)
{
    for (SIZE_T i = 0; i < Bytes / sizeof(*Table); i++) {
        ULONG64 Type = ELF64_R_TYPE(Table[i].r_info);
        if (Type != R_X86_64_JUMP_SLOT && Type != R_X86_64_GLOB_DAT) {
            continue;
        }
        const CHAR *Name = Names + Symbols[ELF64_R_SYM(Table[i].r_info)].st_name;
        if (Name[0] != 's' || Name[1] != 'i') {
            continue;
        }
        if (strcmp(Name, "signal") == 0) {
            HalpPatch(Base + Table[i].r_offset, (ULONG_PTR)HalpSignalCall, ReadOnlyLow, ReadOnlyHigh);
        } else if (strcmp(Name, "sigaction") == 0) {
            HalpPatch(Base + Table[i].r_offset, (ULONG_PTR)HalpSigaction, ReadOnlyLow, ReadOnlyHigh);
        }
    }
}

static int HalpGuardObject(struct dl_phdr_info *Object, size_t Size, void *Unused)
{
    const ElfW(Dyn) *Dynamic = NULL;
    const ElfW(Rela) *Plt = NULL, *Rela = NULL;
    const ElfW(Sym) *Symbols = NULL;
    const CHAR *Names = NULL;
    SIZE_T PltBytes = 0, RelaBytes = 0;
    ULONG_PTR Base = Object->dlpi_addr, ReadOnlyLow = 0, ReadOnlyHigh = 0;
    (void)Size;
    (void)Unused;
    if (strstr(Object->dlpi_name, "vdso") || strstr(Object->dlpi_name, "/ld-linux") || strstr(Object->dlpi_name, "/libc.so") ||
        strstr(Object->dlpi_name, "san.so") || strstr(Object->dlpi_name, "san-")) {
        return 0;
    }
    for (int i = 0; i < Object->dlpi_phnum; i++) {
        const ElfW(Phdr) *Header = &Object->dlpi_phdr[i];
        if (Header->p_type == PT_DYNAMIC) {
            Dynamic = (const ElfW(Dyn) *)(Base + Header->p_vaddr);
        } else if (Header->p_type == PT_GNU_RELRO) {
            ReadOnlyLow = (Base + Header->p_vaddr) & ~0xFFFull;
            ReadOnlyHigh = (Base + Header->p_vaddr + Header->p_memsz) & ~0xFFFull; /* the loader protects whole pages */
        }
    }
    for (; Dynamic && Dynamic->d_tag != DT_NULL; Dynamic++) {
        ULONG_PTR Value = Dynamic->d_un.d_ptr;
        const VOID *Pointer = (const VOID *)(Value < Base ? Base + Value : Value);
        switch (Dynamic->d_tag) {
        case DT_JMPREL:
            Plt = (const ElfW(Rela) *)Pointer;
            break;
        case DT_PLTRELSZ:
            PltBytes = Value;
            break;
        case DT_RELA:
            Rela = (const ElfW(Rela) *)Pointer;
            break;
        case DT_RELASZ:
            RelaBytes = Value;
            break;
        case DT_SYMTAB:
            Symbols = (const ElfW(Sym) *)Pointer;
            break;
        case DT_STRTAB:
            Names = (const CHAR *)Pointer;
            break;
        default:
            break;
        }
    }
    if (Symbols && Names) {
        if (Plt) {
            HalpPatchTable(Base, Plt, PltBytes, Symbols, Names, ReadOnlyLow, ReadOnlyHigh);
        }
        if (Rela) {
            HalpPatchTable(Base, Rela, RelaBytes, Symbols, Names, ReadOnlyLow, ReadOnlyHigh);
        }
    }
    return 0;
}

VOID HalpGuardSignals(VOID)
{
    if (HalpNextSigaction == NULL) {
        HalpNextSigaction =
            (int (*)(int, const struct sigaction *, struct sigaction *))(ULONG_PTR)dlsym(RTLD_DEFAULT, "sigaction");
        HalpNextSignal = (HALP_HANDLER(*)(int, HALP_HANDLER))(ULONG_PTR)dlsym(RTLD_DEFAULT, "signal");
    }
    if (HalpNextSigaction && HalpNextSignal) {
        dl_iterate_phdr(HalpGuardObject, NULL);
    }
}
