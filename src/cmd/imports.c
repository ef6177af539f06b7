/*
 * imports.c - `ntmm imports`: what an image needs, and what of that is here. SPDX-License-Identifier: MIT
 *
 * Parses only; nothing is loaded and no system is started.
 */
#include <errno.h>
#include <strings.h>
#include <sys/stat.h>
#include "cmd.h"

static const char Help[] =
    "usage: ntmm imports FILE.sys [--missing] [--json]\n"
    "\n"
    "Says what a driver imports, by module, and what of that is here. A driver that needs something that is "
    "missing still\n"
    "runs: it stops, by name, if it calls it. Modules other than the kernel and the HAL are drivers of their "
    "own:\n"
    "`ntmm run --with MODULE.sys` loads them first.\n"
    "\n"
    "  --missing   list only what is missing\n"
    "  --json      the same for machines\n"
    "\n"
    "Exit code: 0 everything is here, 1 something is missing, 2 the file is not an x64 driver.\n";

typedef struct _LISTING {
    json_t *Modules; /* array of {module, kernel, have, missing} in order of appearance */
    unsigned Have, Missing;
} LISTING;

static bool IsHere(const LDR_IMPORT *Import)
{
    return LdrIsKernelModule(Import->Module) && Import->Name != NULL && LdrFindEntry(Import->Name) != NULL;
}

static BOOLEAN CountImport(const LDR_IMPORT *Import, PVOID Context)
{
    LISTING *Listing = Context;
    json_t *Module = NULL, *Entry;
    char Name[32];
    size_t Index;
    json_array_foreach(Listing->Modules, Index, Entry)
    {
        if (strcasecmp(json_string_value(json_object_get(Entry, "module")), Import->Module) == 0) {
            Module = Entry;
        }
    }
    if (Module == NULL) {
        Module = json_pack("{s:s, s:b, s:[], s:[]}", "module", Import->Module, "kernel", LdrIsKernelModule(Import->Module),
                           "have", "missing");
        if (Module == NULL) {
            return TRUE; /* a module name that is not UTF-8 */
        }
        json_array_append_new(Listing->Modules, Module);
    }
    bool Here = IsHere(Import);
    snprintf(Name, sizeof(Name), "#%u", Import->Ordinal);
    json_array_append_new(json_object_get(Module, Here ? "have" : "missing"),
                          json_string(Import->Name != NULL ? Import->Name : Name));
    *(Here ? &Listing->Have : &Listing->Missing) += 1;
    return TRUE;
}

static void PrintNames(const char *Title, const json_t *Names)
{
    size_t Index, Column = 0;
    json_t *Name;
    if (json_array_size(Names) == 0) {
        return;
    }
    printf("  %s\n", Title);
    json_array_foreach((json_t *)Names, Index, Name)
    {
        const char *Text = json_string_value(Name);
        size_t Width = strlen(Text) < 31 ? 32 : (strlen(Text) / 32 + 1) * 32;
        if (Column != 0 && Column + Width > 96) {
            putchar('\n');
            Column = 0;
        }
        printf("%s%-*s", Column == 0 ? "    " : "", (int)Width, Text);
        Column += Width;
    }
    putchar('\n');
}

static void PrintText(const char *Path, const LDR_PE *Pe, const LISTING *Listing, bool MissingOnly)
{
    const char *Base = strrchr(Path, '/') != NULL ? strrchr(Path, '/') + 1 : Path;
    json_t *Module;
    size_t Index;
    char Size[32];
    printf("%s: x64, %s in memory, %u sections, %s, %u functions with unwind data", Base, CmdBytes(Pe->SizeOfImage, Size),
           Pe->SectionCount, Pe->RelocationCount != 0 ? "relocatable" : "no relocations", Pe->FunctionCount);
    if (Pe->ExportCount != 0) {
        printf(", %u exports", Pe->ExportCount);
    }
    printf("\n\n");
    json_array_foreach(Listing->Modules, Index, Module)
    {
        const json_t *Have = json_object_get(Module, "have"), *Missing = json_object_get(Module, "missing");
        size_t All = json_array_size(Have) + json_array_size(Missing);
        printf("%s: %zu of %zu here%s\n", json_string_value(json_object_get(Module, "module")), json_array_size(Have), All,
               json_is_true(json_object_get(Module, "kernel")) ? "" : " (a module of its own: load it with --with)");
        PrintNames("missing", Missing);
        if (!MissingOnly) {
            PrintNames("here", Have);
        }
    }
    if (Listing->Have + Listing->Missing == 0) {
        printf("It imports nothing.\n");
    } else if (Listing->Missing == 0) {
        printf("\n%s\n", Listing->Have == 1 ? "Its one import is here." : "All its imports are here.");
    } else {
        printf("\n%u of %u imports are here. The driver loads; it stops, by name, when it calls one that is "
               "missing.\n",
               Listing->Have, Listing->Have + Listing->Missing);
    }
}

static bool ReadFile(const char *Path, unsigned char **Bytes, size_t *Size)
{
    struct stat Facts;
    FILE *File = fopen(Path, "rbe");
    *Bytes = NULL;
    *Size = 0;
    if (File == NULL || fstat(fileno(File), &Facts) != 0) {
        CmdComplain("%s: %s", Path, strerror(errno));
    } else if (!S_ISREG(Facts.st_mode) || Facts.st_size > 256 << 20) {
        CmdComplain("%s: not a driver: %s", Path, S_ISREG(Facts.st_mode) ? "larger than 256 MiB" : "not a regular file");
    } else if ((*Bytes = malloc((size_t)Facts.st_size + 1)) == NULL) {
        CmdComplain("%s: no memory for its %lld bytes", Path, (long long)Facts.st_size);
    } else {
        *Size = fread(*Bytes, 1, (size_t)Facts.st_size, File);
        if (ferror(File)) {
            CmdComplain("%s: cannot be read", Path);
            free(*Bytes);
            *Bytes = NULL;
        }
    }
    if (File != NULL) {
        fclose(File);
    }
    return *Bytes != NULL;
}

int CmdImports(int Argc, char **Argv)
{
    static LDR_PE Pe;
    const char *Path = NULL;
    bool Json = false, MissingOnly = false;
    unsigned char *Bytes;
    size_t Size;
    char Error[LDR_ERROR_CHARS];
    for (int Index = 1; Index < Argc; Index++) {
        if (strcmp(Argv[Index], "--help") == 0) {
            fputs(Help, stdout);
            return CMD_CLEAN;
        } else if (strcmp(Argv[Index], "--json") == 0) {
            Json = true;
        } else if (strcmp(Argv[Index], "--missing") == 0) {
            MissingOnly = true;
        } else if (Argv[Index][0] == '-') {
            return CmdUnknown("imports", Argv[Index]);
        } else if (Path != NULL) {
            return CmdComplain("ntmm imports takes one file; \"%s\" is a second", Argv[Index]);
        } else {
            Path = Argv[Index];
        }
    }
    if (Path == NULL) {
        return CmdComplain("ntmm imports needs a file (ntmm imports --help)");
    }
    if (!ReadFile(Path, &Bytes, &Size)) {
        return CMD_USAGE;
    }
    if (!LdrParsePe(Bytes, Size, &Pe, Error, sizeof(Error))) {
        CmdComplain("%s: %s", Path, Error);
        free(Bytes);
        return CMD_USAGE;
    }
    LISTING Listing = {.Modules = json_array()};
    LdrPeEnumerateImports(&Pe, CountImport, &Listing);
    if (Json) {
        CmdPrintJson(json_pack("{s:s, s:i, s:i, s:b, s:i, s:i, s:o}", "file", Path, "image_bytes", (int)Pe.SizeOfImage,
                               "sections", (int)Pe.SectionCount, "relocations", Pe.RelocationCount != 0, "have",
                               (int)Listing.Have, "missing", (int)Listing.Missing, "modules", Listing.Modules));
    } else {
        PrintText(Path, &Pe, &Listing, MissingOnly);
        json_decref(Listing.Modules);
    }
    free(Bytes);
    return Listing.Missing == 0 ? CMD_CLEAN : CMD_FINDING;
}
