/* xml_encoding.h - single-byte encodings for expat, which knows only UTF-8, UTF-16, ISO-8859-1 and
 * ASCII by itself.
 *
 * The windows-125x, ISO-8859-x and KOI8 families, by a closed list: a name in a document never
 * makes us load a converter.  Anything else (UTF-7 above all) stays an error of the document. */
#ifndef CAM_FEED_XML_ENCODING_H
#define CAM_FEED_XML_ENCODING_H

#include <expat.h>

/* For XML_SetUnknownEncodingHandler; CONTEXT is not used. */
int XMLCALL cam_xml_encoding(void *context, const XML_Char *name, XML_Encoding *encoding);

#endif
