"""The built-in phrases: what is spoken in place of a model. Words in many languages, no logic.

Buffer words must suit whatever the caller has just said, so they agree to nothing, thank for
nothing and ask nothing. They open with a short clause, because speech starts after the first
comma, and address the caller formally where the language must choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from completions.immutable import immutable


@immutable
class Phrases:
    """The phrases of one language.

    `buffer` holds the buffer words, each ending in exactly `"... "`. `failure` admits that the
    turn went wrong and asks the caller to say it again; `bridge` comes before an answer that
    starts over; `closing` ends an answer that was cut; `declined` replaces an answer that a
    content filter withheld, and blames nobody, because filters err.
    """

    buffer: tuple[str, ...]
    failure: str
    bridge: str
    closing: str
    declined: str


PHRASES: Mapping[str, Phrases] = MappingProxyType(
    {
        "en": Phrases(
            (
                "Okay, one moment... ",
                "Let me see, just a second... ",
                "Right, let me check... ",
                "Hmm, bear with me... ",
                "Alright, give me a moment... ",
            ),
            "Sorry, something went wrong on my side, could you say that again, please?",
            "Sorry, let me start over.",
            "Sorry, I lost the rest of that, please ask me again.",
            "I'm sorry, I can't help with that here, is there anything else I can do for you?",
        ),
        "es": Phrases(
            (
                "Bueno, un momento... ",
                "A ver, un segundo... ",
                "Bien, déjeme ver... ",
                "Mmm, deme un momento... ",
                "Un momento, por favor... ",
            ),
            "Perdone, algo ha fallado por mi parte, ¿me lo puede repetir, por favor?",
            "Perdone, empiezo de nuevo.",
            "Perdone, me he quedado a medias, pregúntemelo otra vez, por favor.",
            "Lo siento, aquí no puedo ayudarle con eso, ¿puedo ayudarle con otra cosa?",
        ),
        "de": Phrases(
            (
                "Okay, einen Moment... ",
                "Also, mal sehen... ",
                "Gut, ich schaue kurz nach... ",
                "Hm, einen Augenblick bitte... ",
                "Moment, das haben wir gleich... ",
            ),
            "Entschuldigung, bei mir ist etwas schiefgelaufen, sagen Sie das bitte noch einmal?",
            "Entschuldigung, ich fange noch einmal an.",
            "Entschuldigung, ich bin nicht fertig geworden, bitte fragen Sie mich noch einmal.",
            "Es tut mir leid, dabei kann ich hier nicht helfen, kann ich sonst etwas für Sie tun?",
        ),
        "fr": Phrases(
            (
                "Bon, un instant... ",
                "Alors, voyons voir... ",
                "D'accord, un petit moment... ",
                "Hmm, laissez-moi regarder... ",
                "Un instant, je vous prie... ",
            ),
            "Désolé, j'ai eu un problème de mon côté, pouvez-vous répéter, s'il vous plaît ?",
            "Pardon, je recommence.",
            "Pardon, je n'ai pas pu finir, reposez-moi la question, s'il vous plaît.",
            "Désolé, je ne peux pas vous aider sur ce point, puis-je faire autre chose pour vous ?",
        ),
        "it": Phrases(
            (
                "Bene, un momento... ",
                "Allora, vediamo... ",
                "Ecco, un attimo... ",
                "Mmm, mi lasci controllare... ",
                "Un attimo, per favore... ",
            ),
            "Mi scusi, qualcosa è andato storto da parte mia, può ripetere, per favore?",
            "Mi scusi, ricomincio da capo.",
            "Mi scusi, non sono riuscito a finire, me lo chieda di nuovo, per favore.",
            "Mi dispiace, qui non posso aiutarla su questo, posso fare qualcos'altro per lei?",
        ),
        "pt": Phrases(
            (
                "Bem, um momento... ",
                "Deixe-me ver, só um segundo... ",
                "Certo, vou verificar... ",
                "Hum, um instante... ",
                "Só um momento, por favor... ",
            ),
            "Desculpe, algo correu mal do meu lado, pode repetir, por favor?",
            "Desculpe, vou começar de novo.",
            "Desculpe, não consegui terminar, pergunte de novo, por favor.",
            "Lamento, não posso ajudar com isso aqui, posso ajudar com mais alguma coisa?",
        ),
        "nl": Phrases(
            (
                "Oké, een moment... ",
                "Even kijken, een seconde... ",
                "Goed, ik zoek het even op... ",
                "Hm, een ogenblikje... ",
                "Momentje, ik kijk even... ",
            ),
            "Sorry, er ging bij mij iets mis, kunt u dat nog een keer zeggen?",
            "Sorry, ik begin even opnieuw.",
            "Sorry, ik kon het niet afmaken, vraagt u het alstublieft nog een keer.",
            "Sorry, daar kan ik u hier niet mee helpen, kan ik iets anders voor u doen?",
        ),
        "pl": Phrases(
            (
                "Dobrze, chwileczkę... ",
                "Zobaczmy, sekundę... ",
                "Już, sprawdzam... ",
                "Hm, momencik... ",
                "Chwileczkę, proszę... ",
            ),
            "Przepraszam, coś poszło nie tak po mojej stronie, proszę powtórzyć.",
            "Przepraszam, zacznę od początku.",
            "Przepraszam, nie udało mi się dokończyć, proszę zapytać jeszcze raz.",
            "Przepraszam, w tej sprawie nie mogę tu pomóc, czy mogę pomóc w czymś innym?",
        ),
        "tr": Phrases(
            (
                "Tamam, bir saniye... ",
                "Bakalım, bir dakika... ",
                "Peki, hemen bakıyorum... ",
                "Hmm, bir saniye lütfen... ",
                "Bir dakika, kontrol ediyorum... ",
            ),
            "Kusura bakmayın, bende bir sorun oldu, tekrar söyler misiniz?",
            "Kusura bakmayın, baştan alıyorum.",
            "Kusura bakmayın, sözümü bitiremedim, lütfen tekrar sorun.",
            "Üzgünüm, bu konuda yardımcı olamıyorum, başka bir konuda yardımcı olabilir miyim?",
        ),
        "sv": Phrases(
            (
                "Okej, ett ögonblick... ",
                "Få se, en sekund... ",
                "Jaha, jag kollar... ",
                "Hm, ett litet ögonblick... ",
                "Vänta lite, jag ska se efter... ",
            ),
            "Förlåt, något gick fel hos mig, kan du säga det en gång till?",
            "Förlåt, jag börjar om.",
            "Förlåt, jag hann inte klart, fråga mig gärna igen.",
            "Tyvärr, det kan jag inte hjälpa till med här, kan jag göra något annat för dig?",
        ),
        "da": Phrases(
            (
                "Okay, et øjeblik... ",
                "Lad mig se, et sekund... ",
                "Godt, jeg kigger lige... ",
                "Hm, lige et øjeblik... ",
            ),
            "Undskyld, der gik noget galt hos mig, kan du sige det igen?",
            "Undskyld, jeg begynder forfra.",
            "Undskyld, jeg nåede ikke at blive færdig, spørg mig gerne igen.",
            "Desværre, det kan jeg ikke hjælpe med her, er der noget andet, jeg kan gøre for dig?",
        ),
        "no": Phrases(
            (
                "Ok, et øyeblikk... ",
                "La meg se, et sekund... ",
                "Greit, jeg sjekker... ",
                "Hm, vent litt... ",
            ),
            "Beklager, noe gikk galt hos meg, kan du si det en gang til?",
            "Beklager, jeg begynner på nytt.",
            "Beklager, jeg ble ikke ferdig, spør meg gjerne igjen.",
            "Beklager, det kan jeg ikke hjelpe med her, er det noe annet jeg kan gjøre for deg?",
        ),
        "fi": Phrases(
            (
                "Selvä, hetkinen... ",
                "Katsotaan, pieni hetki... ",
                "No niin, tarkistan asian... ",
                "Hmm, odottakaa hetki... ",
            ),
            "Anteeksi, minulla meni jokin vikaan, voisitteko sanoa sen uudelleen?",
            "Anteeksi, aloitan alusta.",
            "Anteeksi, vastaukseni jäi kesken, kysyttehän uudelleen.",
            "Olen pahoillani, siinä asiassa en voi tässä auttaa, voinko auttaa jossakin muussa?",
        ),
        "cs": Phrases(
            (
                "Dobře, moment... ",
                "Podívejme se, vteřinku... ",
                "Tak, hned to zjistím... ",
                "Hm, okamžik prosím... ",
            ),
            "Omlouvám se, u mě se něco pokazilo, můžete to prosím zopakovat?",
            "Omlouvám se, začnu znovu.",
            "Omlouvám se, nestihlo se to dokončit, zeptejte se mě prosím znovu.",
            "Omlouvám se, s tím vám tady pomoct nemohu, mohu pro vás udělat něco jiného?",
        ),
        "ro": Phrases(
            (
                "Bine, un moment... ",
                "Să vedem, o secundă... ",
                "Așa, verific imediat... ",
                "Hm, o clipă... ",
            ),
            "Îmi cer scuze, ceva nu a mers la mine, puteți repeta, vă rog?",
            "Îmi cer scuze, o iau de la capăt.",
            "Îmi cer scuze, nu am reușit să termin, întrebați-mă din nou, vă rog.",
            "Îmi pare rău, nu vă pot ajuta cu asta aici, vă pot ajuta cu altceva?",
        ),
        "el": Phrases(
            (
                "Ωραία, μια στιγμή... ",
                "Για να δω, ένα δευτερόλεπτο... ",
                "Λοιπόν, το ελέγχω... ",
                "Χμ, μισό λεπτό... ",
            ),
            "Συγγνώμη, κάτι πήγε στραβά από τη μεριά μου, μπορείτε να το επαναλάβετε;",
            "Συγγνώμη, ξεκινάω πάλι από την αρχή.",
            "Συγγνώμη, δεν μπόρεσα να τελειώσω, ρωτήστε με ξανά, παρακαλώ.",
            "Λυπάμαι, δεν μπορώ να σας βοηθήσω με αυτό εδώ, μπορώ να κάνω κάτι άλλο για εσάς;",
        ),
        "ru": Phrases(
            (
                "Так, одну минуту... ",
                "Сейчас посмотрю, секундочку... ",
                "Хорошо, проверяю... ",
                "Хм, один момент... ",
                "Минутку, пожалуйста... ",
            ),
            "Извините, у меня что-то пошло не так, повторите, пожалуйста.",
            "Извините, начну сначала.",
            "Извините, не получилось договорить, спросите, пожалуйста, ещё раз.",
            "Извините, с этим я здесь помочь не могу, могу я помочь вам чем-нибудь ещё?",
        ),
        "uk": Phrases(
            (
                "Так, одну хвилинку... ",
                "Зараз подивлюся, секундочку... ",
                "Добре, перевіряю... ",
                "Хм, один момент... ",
            ),
            "Перепрошую, у мене щось пішло не так, повторіть, будь ласка.",
            "Перепрошую, почну спочатку.",
            "Перепрошую, не вдалося договорити, запитайте, будь ласка, ще раз.",
            "Перепрошую, з цим я тут допомогти не можу, чи можу я допомогти чимось іншим?",
        ),
        "ar": Phrases(
            (
                "حسنًا، لحظة من فضلك... ",
                "طيب، ثانية واحدة... ",
                "نعم، دعني أتحقق... ",
                "لحظة، سأنظر في الأمر... ",
            ),
            "عذرًا، حدث خطأ من جانبي، هل يمكنك إعادة ما قلت من فضلك؟",
            "عذرًا، سأبدأ من جديد.",
            "عذرًا، لم أتمكن من إكمال الإجابة، اسألني مرة أخرى من فضلك.",
            "عذرًا، لا أستطيع مساعدتك في هذا الأمر هنا، هل هناك شيء آخر يمكنني مساعدتك فيه؟",
        ),
        "hi": Phrases(
            (
                "ठीक है, एक क्षण... ",
                "अच्छा, ज़रा देखते हैं... ",
                "हाँ, एक मिनट रुकिए... ",
                "जी, बस एक सेकंड... ",
            ),
            "माफ़ कीजिए, मेरी तरफ़ से कुछ गड़बड़ हो गई, कृपया फिर से कहिए।",
            "माफ़ कीजिए, फिर से शुरू करते हैं।",
            "माफ़ कीजिए, बात अधूरी रह गई, कृपया फिर से पूछिए।",
            "माफ़ कीजिए, यहाँ इस विषय में मदद नहीं हो पाएगी, क्या आपको किसी और बात में मदद चाहिए?",
        ),
        "id": Phrases(
            (
                "Baik, sebentar... ",
                "Coba saya lihat, sebentar ya... ",
                "Oke, saya periksa dulu... ",
                "Hmm, mohon tunggu sebentar... ",
            ),
            "Maaf, ada kesalahan di pihak saya, bisa diulangi sekali lagi?",
            "Maaf, saya ulangi dari awal.",
            "Maaf, jawaban saya terputus, silakan tanyakan sekali lagi.",
            "Maaf, saya tidak bisa membantu hal itu di sini, ada hal lain yang bisa saya bantu?",
        ),
        "ja": Phrases(
            (
                "はい、少々お待ちください... ",
                "そうですね、少々お待ちください... ",
                "ええと、確認いたします... ",
                "では、お調べいたします... ",
            ),
            "申し訳ありません、こちらで問題が起きましたので、もう一度おっしゃっていただけますか。",
            "失礼しました、最初からお話しします。",
            "申し訳ありません、途中で切れてしまいましたので、もう一度お尋ねください。",
            "申し訳ありません、その件はこちらではお答えできかねますが、ほかにご用件はございますか。",
        ),
        "zh": Phrases(
            (
                "好的，请稍等... ",
                "嗯，我看一下... ",
                "稍等，我查一下... ",
                "好，请等一会儿... ",
            ),
            "不好意思，我这边出了点问题，请您再说一遍好吗？",
            "不好意思，我重新说一遍。",
            "不好意思，我没能说完，请您再问一次。",
            "不好意思，这个问题我在这里帮不上忙，请问还有别的需要吗？",
        ),
        "ko": Phrases(
            (
                "네, 잠시만요... ",
                "음, 확인해 보겠습니다... ",
                "그럼, 잠깐만 기다려 주세요... ",
                "잠시만요, 알아보겠습니다... ",
            ),
            "죄송합니다, 제 쪽에 문제가 생겼는데 다시 한번 말씀해 주시겠어요?",
            "죄송합니다, 처음부터 다시 말씀드릴게요.",
            "죄송합니다, 답변이 중간에 끊겼으니 다시 물어봐 주세요.",
            "죄송합니다, 그 부분은 여기서 도와드리기 어려운데, 다른 도움이 필요하신가요?",
        ),
    }
)
