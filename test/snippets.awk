# Takes the C++ out of a page of Markdown, as the branches of an #if: snippet 1, 2 and so on. What the page leaves out
# with "..." is nothing.
/^```cpp$/ { printf "#%s SNIPPET == %d\n#line %d \"%s\"\n", count++ ? "elif" : "if", count, NR + 1, FILENAME; inside = 1; next }
/^```$/ { inside = 0; next }
inside { sub(/ \.\.\.( *\/\/.*)?$/, " {}"); print }
END { print "#else\n#error \"the page has no snippet of that number\"\n#endif\n#undef SNIPPET"
      printf "#undef SNIPPETS\n#define SNIPPETS %d\n", count }
