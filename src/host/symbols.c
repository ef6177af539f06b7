/*
 * symbols.c - names for code addresses: module, function, file and line, of the program, its libraries and PE images.
 * SPDX-License-Identifier: MIT
 *
 * ELF code: libdwfl over this very process; functions that were inlined appear as frames of their own, innermost first.
 * PE code: the DWARF that mingw and clang leave in an image's debug sections is handed to libdw as an ELF file made in memory
 * (section headers and names around the same bytes); where there is none, COFF symbols, then the nearest export.
 *
 *     PE file:  ... .debug_info .debug_abbrev .debug_line ...        ELF in memory:  header, string table, the same
 *               (addresses are the preferred base's)        ----->   sections, section headers
 *
 * Which code is the library's own is known by where it was compiled: its files lie under the folder that this file lies
 * under (DWARF), or its module is the shared library.
 *
 * Invariants:
 *  1. Session is used under SessionLock, and a lookup that cannot have it (a stop inside a lookup) uses dladdr only.
 *  2. Strings of a HOST_SYMBOL are copies.
 *
 * Watch it: tests/unit/report_test.c.
 */
#include "host.h"
#include "ldr/ldr.h"

#include <dlfcn.h>
#include <dwarf.h>
#include <elf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t SessionLock = PTHREAD_MUTEX_INITIALIZER;
static Dwfl *Session;
static char OwnRoot[512]; /* "/.../src/" of the library's own sources; empty: unknown */
static BOOLEAN OwnRootKnown;

static void Copy(char *Target, size_t Size, const char *Source)
{
    snprintf(Target, Size, "%s", Source ? Source : "");
}

static const char *BaseName(const char *Path)
{
    const char *Slash = Path ? strrchr(Path, '/') : NULL;
    return Slash ? Slash + 1 : Path;
}

/* ---- what libdw says about one address of one compilation unit ---- */

/* A function of our headers, or of another WDK's, to which a driver's compiler gave a body in the driver. */
static BOOLEAN DeclaredInHeader(Dwarf_Die *Function)
{
    static const char *const Kits[] = {"wdm.h", "ntddk.h", "ntifs.h", "ntstrsafe.h", "winnt.h"};
    const char *File = dwarf_decl_file(Function), *Folder = File ? strstr(File, "/wdm/") : NULL;
    for (unsigned I = 0; File && I < ARRAYSIZE(Kits); I++)
        if (!strcmp(BaseName(File), Kits[I]))
            return TRUE;
    if (!Folder)
        return FALSE;
    return (Folder - File >= 3 && !strncmp(Folder - 3, "/nt", 3)) || (Folder - File >= 5 && !strncmp(Folder - 5, "/ntmm", 5));
}

/* Fills up to Max symbols from the scopes around Pc (in the file's own addresses); 0 if nothing is known. */
static ULONG FromDwarf(Dwarf_Die *Unit, Dwarf_Addr Pc, HOST_SYMBOL *Out, ULONG Max)
{
    Dwarf_Die *Inner = NULL, *Scopes = NULL;
    Dwarf_Line *Line = dwarf_getsrc_die(Unit, Pc);
    const char *File = Line ? dwarf_linesrc(Line, NULL, NULL) : NULL;
    Dwarf_Files *Files = NULL;
    size_t FileCount = 0;
    int Row = 0, Count = 0;
    ULONG Filled = 0;

    /* The innermost scope by address, then its parents as they stand in the file: of an inlined function the caller, not
     * the place of its definition. */
    if (dwarf_getscopes(Unit, Pc, &Inner) > 0)
        Count = dwarf_getscopes_die(&Inner[0], &Scopes);
    if (Line)
        dwarf_lineno(Line, &Row);
    dwarf_getsrcfiles(Unit, &Files, &FileCount);
    for (int I = 0; I < Count && Filled < Max; I++) {
        int Tag = dwarf_tag(&Scopes[I]);
        Dwarf_Attribute Attribute;
        Dwarf_Addr Low = 0;
        if (Tag != DW_TAG_subprogram && Tag != DW_TAG_inlined_subroutine)
            continue;
        Copy(Out[Filled].Function, sizeof Out[Filled].Function,
             dwarf_formstring(dwarf_attr_integrate(&Scopes[I], DW_AT_name, &Attribute)));
        Copy(Out[Filled].File, sizeof Out[Filled].File, File);
        Out[Filled].Line = (unsigned)Row;
        if (dwarf_lowpc(&Scopes[I], &Low) == 0)
            Out[Filled].Offset = Pc - Low;
        Out[Filled].Header = DeclaredInHeader(&Scopes[I]);
        Out[Filled].Inlined = Tag == DW_TAG_inlined_subroutine;
        Filled++;
        if (Tag == DW_TAG_subprogram)
            break;
        /* The next frame outward stands at the call that was inlined. */
        Dwarf_Word Number = 0;
        File = NULL;
        Row = 0;
        if (dwarf_formudata(dwarf_attr(&Scopes[I], DW_AT_call_file, &Attribute), &Number) == 0 && Files && Number < FileCount)
            File = dwarf_filesrc(Files, (size_t)Number, NULL, NULL);
        if (dwarf_formudata(dwarf_attr(&Scopes[I], DW_AT_call_line, &Attribute), &Number) == 0)
            Row = (int)Number;
    }
    free(Scopes);
    free(Inner);
    return Filled;
}

/* ---- ELF ---- */

static int FindNoDebugInfo(Dwfl_Module *Module, void **UserData, const char *Name, Dwarf_Addr Base, const char *FileName,
                           const char *Link, GElf_Word Crc, char **DebugFile)
{
    /* Looks in the usual folders of this machine, never on the network. */
    unsetenv("DEBUGINFOD_URLS");
    return dwfl_standard_find_debuginfo(Module, UserData, Name, Base, FileName, Link, Crc, DebugFile);
}

static int AddObject(struct dl_phdr_info *Info, size_t Size, void *Context)
{
    const char *Path = Info->dlpi_name && Info->dlpi_name[0] ? Info->dlpi_name : "/proc/self/exe";
    (void)Size;
    (void)Context;
    if (Path[0] == '/')
        dwfl_report_elf(Session, Path == Info->dlpi_name ? BaseName(Path) : program_invocation_short_name, Path, -1,
                        Info->dlpi_addr, true);
    return 0;
}

static VOID OpenSession(VOID)
{
    static char *NoPath;
    static const Dwfl_Callbacks Callbacks = {
        .find_elf = dwfl_build_id_find_elf,
        .find_debuginfo = FindNoDebugInfo,
        .section_address = dwfl_offline_section_address,
        .debuginfo_path = &NoPath,
    };
    if (Session)
        return;
    Session = dwfl_begin(&Callbacks);
    if (!Session)
        return;
    dwfl_report_begin(Session);
    dl_iterate_phdr(AddObject, NULL);
    dwfl_report_end(Session, NULL, NULL);
}

/* The compilation unit that holds an address. gcc's index of addresses finds it at once. clang writes none, and where only the
 * assembler files have one it claims the addresses behind theirs: so the answer is checked, and made up for by asking the
 * units one by one. */
static Dwarf_Die *UnitAt(Dwfl_Module *Module, ULONG_PTR Address, Dwarf_Addr *Bias)
{
    Dwarf_Die *Unit = dwfl_module_addrdie(Module, Address, Bias);
    if (Unit && dwarf_haspc(Unit, Address - *Bias) == 1)
        return Unit;
    Unit = NULL;
    while ((Unit = dwfl_module_nextcu(Module, Unit, Bias)) != NULL)
        if (dwarf_haspc(Unit, Address - *Bias) == 1)
            return Unit;
    return NULL;
}

/* The source file of the compilation unit at an address, as the compiler was given it; NULL: unknown. The build names its files
 * by absolute paths, or (where a compiler cache rewrites them, and the folder of compilation is some other tree's) all
 * by the same relative one: so names as given are what can be compared. */
static const char *UnitFile(ULONG_PTR Address, char *Text, size_t Size)
{
    Dwarf_Addr Bias;
    Dwfl_Module *Module = dwfl_addrmodule(Session, Address);
    Dwarf_Die *Unit = Module ? UnitAt(Module, Address, &Bias) : NULL;
    const char *Name = Unit ? dwarf_diename(Unit) : NULL;
    if (!Name)
        return NULL;
    snprintf(Text, Size, "%s", Name);
    return Text;
}

BOOLEAN HostIsWholeProgram;

static BOOLEAN IsLibraryCode(ULONG_PTR Address, Dwfl_Module *Module)
{
    char Text[1024];
    const char *File;
    Dl_info Mine, Theirs;
    if (!OwnRootKnown) {
        OwnRootKnown = TRUE;
        File = UnitFile((ULONG_PTR)&IsLibraryCode, Text, sizeof Text);
        const char *End = File ? strstr(File, "src/host/symbols.c") : NULL;
        if (End)
            snprintf(OwnRoot, sizeof OwnRoot, "%.*s", (int)(End - File) + 4, File);
    }
    /* The shared library: everything in it. */
    if (dladdr((PVOID)(ULONG_PTR)&IsLibraryCode, &Mine) && dladdr((PVOID)Address, &Theirs) &&
        Mine.dli_fbase != Theirs.dli_fbase)
        return FALSE;
    if (HostIsWholeProgram)
        return TRUE;
    if (Mine.dli_fname && strstr(BaseName(Mine.dli_fname), "libntmm"))
        return TRUE;
    if (!OwnRoot[0] || !Module)
        return FALSE;
    File = UnitFile(Address, Text, sizeof Text);
    return File && strncmp(File, OwnRoot, strlen(OwnRoot)) == 0;
}

static ULONG SymbolizeElf(ULONG_PTR Address, HOST_SYMBOL *Out, ULONG Max)
{
    Dl_info Info;
    ULONG Count = 0;
    if (pthread_mutex_trylock(&SessionLock) == 0) {
        Dwfl_Module *Module;
        OpenSession();
        Module = Session ? dwfl_addrmodule(Session, Address) : NULL;
        if (Module) {
            Dwarf_Addr Bias = 0;
            Dwarf_Die *Unit = UnitAt(Module, Address, &Bias);
            const char *Name = dwfl_module_info(Module, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
            BOOLEAN Library = IsLibraryCode(Address, Module);
            if (Unit)
                Count = FromDwarf(Unit, Address - Bias, Out, Max);
            if (Count == 0) {
                GElf_Off Offset = 0;
                GElf_Sym Symbol;
                Copy(Out[0].Function, sizeof Out[0].Function,
                     dwfl_module_addrinfo(Module, Address, &Offset, &Symbol, NULL, NULL, NULL));
                if (!Out[0].Function[0]) {
                    Dwarf_Addr Start = 0;
                    dwfl_module_info(Module, NULL, &Start, NULL, NULL, NULL, NULL, NULL);
                    Offset = Address - Start;
                }
                Out[0].Offset = Offset;
                Count = 1;
            }
            for (ULONG I = 0; I < Count; I++) {
                Copy(Out[I].Module, sizeof Out[I].Module, BaseName(Name));
                Out[I].Library = Library;
            }
        }
        pthread_mutex_unlock(&SessionLock);
    }
    if (Count == 0 && dladdr((PVOID)Address, &Info)) {
        Copy(Out[0].Module, sizeof Out[0].Module, BaseName(Info.dli_fname));
        Copy(Out[0].Function, sizeof Out[0].Function, Info.dli_sname);
        if (Info.dli_saddr)
            Out[0].Offset = Address - (ULONG_PTR)Info.dli_saddr;
        Count = 1;
    }
    return Count;
}

/* ---- PE ---- */

/* An ELF file around the debug sections of a PE file; NULL if it has none. The caller frees it. */
static char *MakeElf(const LDR_IMAGE *Image, size_t *Size)
{
    const LDR_PE *Pe = &Image->Pe;
    size_t Names = 1, Bytes = 0, At;
    ULONG Count = 0, I, Index = 1;
    char *Elf;
    Elf64_Ehdr *Header;
    Elf64_Shdr *Sections;

    for (I = 0; I < Pe->SectionCount; I++)
        if (!strncmp(Pe->Sections[I].Name, ".debug_", 7) && Pe->Sections[I].FileSize) {
            Count++;
            Names += strlen(Pe->Sections[I].Name) + 1;
            Bytes += (Pe->Sections[I].FileSize + 15) & ~15u;
        }
    if (!Count)
        return NULL;
    Names += sizeof ".shstrtab";
    *Size = sizeof *Header + (Count + 2) * sizeof *Sections + ((Names + 15) & ~15ul) + Bytes;
    Elf = calloc(1, *Size);
    if (!Elf)
        return NULL;
    Header = (Elf64_Ehdr *)Elf;
    memcpy(Header->e_ident, ELFMAG, SELFMAG);
    Header->e_ident[EI_CLASS] = ELFCLASS64;
    Header->e_ident[EI_DATA] = ELFDATA2LSB;
    Header->e_ident[EI_VERSION] = EV_CURRENT;
    Header->e_type = ET_EXEC;
    Header->e_machine = EM_X86_64;
    Header->e_version = EV_CURRENT;
    Header->e_ehsize = sizeof *Header;
    Header->e_shoff = sizeof *Header;
    Header->e_shentsize = sizeof *Sections;
    Header->e_shnum = (Elf64_Half)(Count + 2);
    Header->e_shstrndx = (Elf64_Half)(Count + 1);
    Sections = (Elf64_Shdr *)(Elf + Header->e_shoff);
    At = sizeof *Header + (Count + 2) * sizeof *Sections;
    Elf64_Shdr *Strings = &Sections[Count + 1];
    Strings->sh_type = SHT_STRTAB;
    Strings->sh_offset = At;
    Strings->sh_size = Names;
    Strings->sh_addralign = 1;
    char *Name = Elf + At + 1;
    At += (Names + 15) & ~15ul;
    for (I = 0; I < Pe->SectionCount; I++) {
        const LDR_SECTION *Section = &Pe->Sections[I];
        if (strncmp(Section->Name, ".debug_", 7) || !Section->FileSize)
            continue;
        ULONG Length =
            Section->VirtualSize && Section->VirtualSize < Section->FileSize ? Section->VirtualSize : Section->FileSize;
        Sections[Index].sh_name = (Elf64_Word)(Name - (Elf + Strings->sh_offset));
        Sections[Index].sh_type = SHT_PROGBITS;
        Sections[Index].sh_offset = At;
        Sections[Index].sh_size = Length;
        Sections[Index].sh_addralign = 1;
        memcpy(Elf + At, Pe->Bytes + Section->FileOffset, Length);
        strcpy(Name, Section->Name);
        Name += strlen(Section->Name) + 1;
        At += (Section->FileSize + 15) & ~15u;
        Index++;
    }
    Strings->sh_name = (Elf64_Word)(Name - (Elf + Strings->sh_offset));
    strcpy(Name, ".shstrtab");
    return Elf;
}

static ULONG PeDwarf(const LDR_IMAGE *Image, ULONG_PTR Rva, HOST_SYMBOL *Out, ULONG Max)
{
    size_t Size;
    char *Bytes = MakeElf(Image, &Size);
    Elf *File;
    Dwarf *Debug;
    ULONG Count = 0;
    Dwarf_Addr Pc = Image->Pe.ImageBase + Rva;

    if (!Bytes)
        return 0;
    elf_version(EV_CURRENT);
    File = elf_memory(Bytes, Size);
    Debug = File ? dwarf_begin_elf(File, DWARF_C_READ, NULL) : NULL;
    if (Debug) {
        Dwarf_CU *Cu = NULL;
        Dwarf_Half Version;
        uint8_t Type;
        Dwarf_Die Unit;
        while (Count == 0 && dwarf_get_units(Debug, Cu, &Cu, &Version, &Type, &Unit, NULL) == 0)
            if (dwarf_haspc(&Unit, Pc) == 1)
                Count = FromDwarf(&Unit, Pc, Out, Max);
        dwarf_end(Debug);
    }
    if (File)
        elf_end(File);
    free(Bytes);
    return Count;
}

typedef struct __attribute__((packed)) _COFF_SYMBOL {
    union {
        char Short[8];
        struct {
            ULONG Zero, Offset;
        } Long;
    } Name;
    ULONG Value;
    SHORT Section;
    USHORT Type;
    UCHAR Class, Auxiliaries;
} COFF_SYMBOL;

/* The COFF function symbol at or below Rva. */
static BOOLEAN PeCoff(const LDR_IMAGE *Image, ULONG_PTR Rva, HOST_SYMBOL *Out)
{
    const LDR_PE *Pe = &Image->Pe;
    ULONG_PTR Best = ~0ul;
    if (!Pe->SymbolTable)
        return FALSE;
    const char *Strings = (const char *)Pe->Bytes + Pe->SymbolTable + (size_t)Pe->SymbolCount * sizeof(COFF_SYMBOL);
    const char *End = (const char *)Pe->Bytes + Pe->Size;
    for (ULONG I = 0; I < Pe->SymbolCount; I++) {
        COFF_SYMBOL Symbol;
        memcpy(&Symbol, Pe->Bytes + Pe->SymbolTable + (size_t)I * sizeof Symbol, sizeof Symbol);
        I += Symbol.Auxiliaries;
        if (Symbol.Section < 1 || (ULONG)Symbol.Section > Pe->SectionCount ||
            !(Pe->Sections[Symbol.Section - 1].Characteristics & IMAGE_SCN_MEM_EXECUTE))
            continue;
        /* A function by its type, or an assembler's global label, which has no type. */
        if ((Symbol.Type & 0x30) != 0x20 && (Symbol.Type != 0 || Symbol.Class != 2))
            continue;
        ULONG_PTR At = (ULONG_PTR)Pe->Sections[Symbol.Section - 1].Rva + Symbol.Value;
        if (At > Rva || Rva - At >= Best)
            continue;
        Best = Rva - At;
        if (Symbol.Name.Long.Zero)
            snprintf(Out->Function, sizeof Out->Function, "%.8s", Symbol.Name.Short);
        else if (Strings < End && Symbol.Name.Long.Offset < (size_t)(End - Strings))
            snprintf(Out->Function, sizeof Out->Function, "%.*s", (int)(End - Strings - Symbol.Name.Long.Offset),
                     Strings + Symbol.Name.Long.Offset);
        Out->Offset = Best;
    }
    return Best != ~0ul;
}

static ULONG SymbolizePe(const LDR_IMAGE *Image, ULONG_PTR Address, HOST_SYMBOL *Out, ULONG Max)
{
    ULONG_PTR Rva = Address - (ULONG_PTR)Image->Base;
    ULONG Count = 0;
    if (Rva < Image->Size) {
        Count = PeDwarf(Image, Rva, Out, Max);
        if (Count == 0) {
            ULONG Offset = 0;
            Count = 1;
            if (!PeCoff(Image, Rva, Out)) {
                const CHAR *Name = LdrFindNearestExport(Image, (ULONG)Rva, &Offset);
                Copy(Out->Function, sizeof Out->Function, Name);
                Out->Offset = Name ? Offset : Rva;
            }
        }
    } else {
        /* An import that is missing: its stub stands behind the image. */
        Copy(Out->Function, sizeof Out->Function, "(missing import)");
        Count = 1;
    }
    for (ULONG I = 0; I < Count; I++) {
        Copy(Out[I].Module, sizeof Out[I].Module, Image->Name);
        Out[I].Foreign = TRUE;
    }
    return Count;
}

ULONG HostSymbolize(ULONG_PTR Address, BOOLEAN Exact, HOST_SYMBOL *Out, ULONG Max)
{
    /* A return address may already belong to the next line, or to the next function. */
    ULONG_PTR At = Exact ? Address : Address - 1;
    LDR_IMAGE *Image = LdrpFindImage(At);
    ULONG Count;
    HOST_UNWATCHED;
    memset(Out, 0, Max * sizeof *Out);
    Count = Image ? SymbolizePe(Image, At, Out, Max) : SymbolizeElf(At, Out, Max);
    if (Count == 0) {
        Copy(Out[0].Module, sizeof Out[0].Module, HalIsSystemAddress(At) || HalIsUserAddress(At) ? "(no image)" : "?");
        Count = 1;
    }
    return Count;
}

VOID HostForgetSymbols(VOID)
{
    HOST_UNWATCHED;
    pthread_mutex_lock(&SessionLock);
    if (Session)
        dwfl_end(Session);
    Session = NULL;
    OwnRootKnown = FALSE;
    OwnRoot[0] = 0;
    pthread_mutex_unlock(&SessionLock);
}
