/*
 * ldrp.h - the loader's private face between its files. SPDX-License-Identifier: MIT
 */
#pragma once
#include "ldr/ldr.h"

#define LDRP_PAGE_SIZE    0x1000u
#define LDRP_PAGES(Bytes) (((SIZE_T)(Bytes) + (LDRP_PAGE_SIZE - 1)) / LDRP_PAGE_SIZE)

/* Writes the sentence for the caller of LdrLoadImage or LdrStartDriver. */
#define LdrpSay(Error, ErrorSize, ...) ((VOID)snprintf((Error), (ErrorSize), __VA_ARGS__))

/* One import that nobody supplies; the code of its stub is in LDR_IMAGE.Stubs. */
typedef struct _LDRP_MISSING {
    LDR_IMAGE *Image;
    const CHAR *Text; /* "module!name" */
} LDRP_MISSING;

/* ---- names.c: the list of loaded images ---- */
NTSTATUS LdrpInsertImage(LDR_IMAGE *Image);
VOID LdrpRemoveImage(LDR_IMAGE *Image);
/* By file name, without regard to case; NULL: not loaded. */
LDR_IMAGE *LdrpFindImageByName(const CHAR *Name);

/* ---- imports.c ---- */
/* Fills the import address table in Copy (the image as it will be mapped) and makes stubs for what is missing. */
NTSTATUS LdrpBindImports(LDR_IMAGE *Image, UCHAR *Copy, CHAR *Error, SIZE_T ErrorSize);
VOID LdrpFreeImports(LDR_IMAGE *Image);
/* Every slot of a loaded image still holds what it was bound to (slots in discarded sections do not count). */
BOOLEAN LdrpCheckImports(LDR_IMAGE *Image);
/* Where the stubs of missing imports end up. */
VOID KI_MSABI LdrpCallMissing(const LDRP_MISSING *Missing);

/* ---- shared.c: KUSER_SHARED_DATA ---- */
/* Rewrites absolute addresses of the shared page in Copy to the mirror; counts a user of the mirror if there were any. */
NTSTATUS LdrpRedirectSharedData(LDR_IMAGE *Image, UCHAR *Copy, CHAR *Error, SIZE_T ErrorSize);
VOID LdrpReleaseSharedData(LDR_IMAGE *Image);

/* ---- service.c: ZwLoadDriver ---- */
VOID LdrpInitServices(VOID);
VOID LdrpShutdownServices(VOID);

/* ---- emulate.c ---- */
BOOLEAN LdrpEmulate(HAL_TRAP_FRAME *Frame);

/* ---- unwind.c ---- */
VOID LdrpEnableDispatch(VOID); /* an image is loaded: its handlers take part in exceptions */
BOOLEAN LdrpUnwindForeign(HAL_CONTEXT *Context);
