def greeting(word):
    return f"hello {word}"
